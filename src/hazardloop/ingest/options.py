"""Where and how to subscribe, and how the subscription stands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from hazardloop.ingest.batching import BatchLimits
from hazardloop.ingest.framing import SMALLEST_LIMIT
from hazardloop.ingest.mqtt import PACKET_LIMIT
from hazardloop.ingest.packets import (
    MQTT_3_1_1,
    MQTT_5,
    NEVER_EXPIRES,
    Retained,
    subscribe_options,
)

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
MOST_ALIASES: Final = 1000
"""Topics kept for a broker at most: 64 MB if each were as long as can be."""


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
    share: name of a group whose members share the messages: each goes to one of them. A part of
        MQTT 5. Which member gets it is the broker's choice, message by message: whoever needs
        all messages of a point in their order must not share.
    retained: those of `filters` of which the broker is to send the retained messages at each
        subscribe. They are never shared: shared filters get no retained messages. MQTT 3.1.1
        cannot choose, there they come for all filters, and `Batch.retained` tells.
    beside: filters asked for beside `filters`, with the same `qos`, never shared. A broker may
        refuse them, by its rights or by its limits: then we go on without, `state.refused` tells.
    topic_alias_maximum: topic aliases the broker may use (MQTT 5). Each keeps a topic of at most
        64 KiB; a message with an alias is read some times slower than one without.
    keep_alive_s: whole seconds; a broker silent for one and a half of it is given up.
    connect_timeout_s: for connecting, TLS, login and subscribing together.
    ca_file, cert_file, key_file: TLS: whom to trust (else the system's store), who we are.
    window: messages in our hands, waiting or handed out, at which reading pauses.
    window_bytes: of these messages on the wire, at which it pauses as well.
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
    share: str = ""
    retained: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    topic_alias_maximum: int = 0
    keep_alive_s: int = 15
    connect_timeout_s: float = 10.0
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    window: int = 20_000
    window_bytes: int = 64 << 20
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
            "window_bytes": (1, 1 << 40),
            "packet_limit": (SMALLEST_LIMIT, 1 << 28),
            "topic_alias_maximum": (0, MOST_ALIASES),
        }
        for name, (least, most) in allowed.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} {getattr(self, name)} outside {least}..{most}")
        if not self.filters:
            raise ValueError("no topic filter to subscribe to")
        if self.share and self.protocol != MQTT_5:
            raise ValueError("shared subscriptions are a part of MQTT 5; 3.1.1 has none")
        if set(self.share) & set("/+#"):
            raise ValueError(f"name of a share {self.share!r} contains one of / + #")

    @property
    def asked(self) -> list[tuple[str, int]]:
        """Each filter as it is sent in SUBSCRIBE, with its byte of options; `beside` come last."""
        return [self._asked(topic) for topic in (*self.filters, *self.beside)]

    def _asked(self, topic: str) -> tuple[str, int]:
        if self.protocol != MQTT_5 or topic in self.retained:
            return topic, subscribe_options(self.qos)
        share = self.share and topic not in self.beside
        shared = f"$share/{self.share}/{topic}" if share else topic
        return shared, subscribe_options(self.qos, Retained.NOT_SENT)


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
    sessions_lost: logins at which the broker had forgotten a session that it had given us before:
        what was published meanwhile may never come.
    refused: those of `beside` that the broker did not grant.
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
    sessions_lost: int
    refused: tuple[str, ...] = ()
