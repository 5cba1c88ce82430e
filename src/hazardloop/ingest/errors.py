"""What can go wrong between a broker and us. Nothing a gateway sends is among it."""

from hazardloop.ingest.reasons import UNSPECIFIED_ERROR


class MalformedPacket(Exception):
    """The peer does not speak MQTT, or breaks its rules; `code` is the MQTT 5 reason code."""

    def __init__(self, reason: str, code: int = UNSPECIFIED_ERROR) -> None:
        super().__init__(f"{reason} (0x{code:02x})")
        self.reason = reason
        self.code = code


class ConnectionLost(Exception):
    """The connection to the broker ended, with the reason as far as it is known."""


class LoginRefused(Exception):
    """The broker answered CONNECT with a refusal."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"broker refused the login: {reason} (0x{code:02x})")
        self.code = code
        self.reason = reason


class SubscribeRefused(Exception):
    """The broker granted some filter not at all, or at a lower QoS than asked for."""

    def __init__(self, refused: dict[str, str]) -> None:
        told = ", ".join(f"{topic}: {reason}" for topic, reason in refused.items())
        super().__init__(f"broker refused to subscribe: {told}")
        self.refused = refused


class SubscriptionClosed(Exception):
    """`close` was called: there will be no further batch."""


class SpoolFull(Exception):
    """The spool takes no more; the message says which bound is reached."""
