"""The kinds of channel a contact may have: what each needs to know, and what is shown of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, field_validator

from hazardloop.service.api.schema import Body

Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,200}$")]
Signing = Annotated[str, Field(pattern=r"^[\x21-\x7e]{8,200}$")]


class Mail(Body):
    """A mailbox; the relay is the site's."""

    kind: Literal["mail"]
    address: str = Field(
        max_length=254, pattern=r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
    )

    @property
    def shown(self) -> str:
        """With most of the name left out."""
        name, _, host = self.address.partition("@")
        return f"{name[:2]}…@{host}"


class Sms(Body):
    """A telephone; the gateway is the site's. Gets the short form."""

    kind: Literal["sms"]
    phone: str = Field(pattern=r"^\+?[0-9]{5,15}$")

    @property
    def shown(self) -> str:
        """With its middle left out."""
        return f"{self.phone[:3]}…{self.phone[-4:]}"


class WeCom(Body):
    """A person of the site's WeCom (企业微信); the application is the site's."""

    kind: Literal["wecom"]
    user: str = Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")

    @property
    def shown(self) -> str:
        """The person."""
        return self.user


class Robot(Body):
    """A robot of a group chat: WeCom, DingTalk (钉钉), Feishu (飞书) or Lark."""

    kind: Literal["wecom_robot", "dingtalk_robot", "feishu_robot", "lark_robot"]
    token: Secret
    secret: Signing | None = Field(
        default=None, description="With which messages are signed; DingTalk, Feishu, Lark."
    )

    @property
    def shown(self) -> str:
        """The end of its token."""
        return f"…{self.token[-4:]}"


class Webhook(Body):
    """A program of the receiver's. It gets JSON, signed with HMAC-SHA256."""

    kind: Literal["webhook"]
    url: str = Field(max_length=500, pattern=r"^https?://[^\s@]+$")
    secret: Signing = Field(description="Shared with the receiver, at least 8 characters.")

    @field_validator("url")
    @classmethod
    def _names_a_host(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or not _port_is_one(parts):
            raise ValueError("the address must be http(s)://HOST[:PORT]/…")
        return url

    @property
    def shown(self) -> str:
        """Its host; the rest may hold a secret."""
        return urlsplit(self.url).hostname or ""


def _port_is_one(parts: Any) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


SERVICES: Final = frozenset(
    {
        "bulksms", "clicksend", "httpsms", "nexmo", "pushplus", "schan", "sendgrid", "signl4",
        "sinch", "sns", "twilio", "vonage", "wxpusher",
    }
)  # fmt: skip
"""Services that apprise sends to at an address of its own making, by the schema of their URL."""


class Service(Body):
    """Another service that apprise knows, as its URL."""

    kind: Literal["service"]
    url: str = Field(max_length=500, pattern=r"^[a-z0-9]+://[\x21-\x7e]+$")

    @field_validator("url")
    @classmethod
    def _known(cls, url: str) -> str:
        if url.partition("://")[0] not in SERVICES:
            raise ValueError(f"the service must be one of {', '.join(sorted(SERVICES))}")
        from apprise import Apprise  # takes a while, and few requests need it

        if Apprise.instantiate(url, suppress_exceptions=True) is None:
            raise ValueError("apprise cannot make sense of this address: see its documentation")
        return url

    @property
    def shown(self) -> str:
        """Which service."""
        return self.url.partition("://")[0]


Channel: TypeAlias = Mail | Sms | WeCom | Robot | Webhook | Service
ChannelIn = Annotated[Channel, Field(discriminator="kind")]

_READER: Final[TypeAdapter[Channel]] = TypeAdapter(ChannelIn)


def channel_of(kind: str, target: Mapping[str, Any]) -> Channel:
    """A stored channel. ValueError: it is of a kind, or a form, that is no longer known."""
    return _READER.validate_python({"kind": kind, **target})


def target_of(channel: Channel) -> dict[str, Any]:
    """What is stored of it, secrets included."""
    return channel.model_dump(exclude={"kind"}, exclude_none=True)
