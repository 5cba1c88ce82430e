"""Where and how to subscribe, and how the subscription stands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from hazardloop.ingest.batching import BatchLimits
from hazardloop.ingest.framing import SMALLEST_LIMIT
from hazardloop.ingest.mqtt import PACKET_LIMIT
from hazardloop.ingest.packets import MQTT_3_1_1, NEVER_EXPIRES

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a broker listens; `tls` for `mqtts`; the login only where the address carried one."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None


def endpoint(url: str) -> Endpoint:
    """What `mqtt://[user:password@]host[:port]` says. ValueError: not such an address."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"broker address is neither mqtt://host nor mqtts://host: {parts.scheme}:")
    return Endpoint(
        host=parts.hostname,
        port=parts.port or PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionOptions:
    """Where, as whom and what to subscribe.

    url: `mqtt://host[:1883]` or `mqtts://host[:8883]`; a `user:password@` in it counts unless
        `username` is given.
    client_id: names the session at the broker; a secret of this process, since whoever logs in
        with it takes the session over.
    filters: topic filters, all with `qos`.
    protocol: 4 = MQTT 3.1.1, 5 = MQTT 5.
    clean_start: forget what the broker kept; for tests and for looking on, not for the worker.
    session_expiry_s: how long the broker keeps the session without us (MQTT 5).
    keep_alive_s: whole seconds; a broker silent for one and a half of it is given up.
    connect_timeout_s: for connecting, TLS, login and subscribing together.
    ca_file, cert_file, key_file: TLS: whom to trust (else the system's store), who we are.
    window: messages in our hands, waiting or handed out, at which reading pauses.
    packet_limit: bytes; a PUBLISH over it is passed by and reported as oversized.
    limits: when a batch is due.
    """

    url: str
    client_id: str
    filters: tuple[str, ...]
    qos: int = 1
    username: str | None = None
    password: str | None = None
    protocol: int = MQTT_3_1_1
    clean_start: bool = False
    session_expiry_s: int = NEVER_EXPIRES
    keep_alive_s: int = 15
    connect_timeout_s: float = 10.0
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    window: int = 20_000
    packet_limit: int = PACKET_LIMIT
    limits: BatchLimits = field(default_factory=BatchLimits)

    def __post_init__(self) -> None:
        """ValueError: options that cannot work."""
        endpoint(self.url)
        allowed = {
            "protocol": (4, 5),
            "qos": (0, 2),
            "keep_alive_s": (1, 0xFFFF),
            "window": (1, 1 << 31),
            "packet_limit": (SMALLEST_LIMIT, 1 << 28),
        }
        for name, (least, most) in allowed.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)} outside {least}..{most}")
        if not self.filters:
            raise ValueError("no topic filter to subscribe to")


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """How the subscription is at this instant; instants in microseconds since 1970-01-01T00:00Z.

    connected: logged in and subscribed.
    session_present: the broker still had our session at the last login.
    generation: number of the connection, from 1.
    last_error: why the last connection or attempt ended.
    unacknowledged: messages in our hands; waiting: those of them not handed out yet.
    paused: nothing is read because the window is full.
    received: messages, in all; connections: logins that led to a subscription.
    stale_acknowledgements: messages acknowledged after their connection had ended, so in vain.
    """

    connected: bool
    session_present: bool
    generation: int
    connected_at: int | None
    last_message_at: int | None
    last_error: str | None
    unacknowledged: int
    waiting: int
    paused: bool
    received: int
    connections: int
    stale_acknowledgements: int
