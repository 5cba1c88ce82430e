"""The site's own mail relay, SMS gateway and WeCom application: one YAML file for the clerk."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hazardloop.service.errors import SettingsWrong

Address = Annotated[str, Field(pattern=r"^https?://[^\s@]+$", max_length=2_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SmsGateway(_Part):
    """An SMS gateway that takes one HTTP request a message.

    In `url`, `headers` and `body`, `{phone}`, `{text}` and `{key}` stand for the number, the text
    and the delivery key; what is put in is quoted as `quoting` says.
    """

    url: Address
    headers: dict[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}
    body: str
    quoting: Literal["form", "json"] = "form"
    accepted: str
    """Regular expression that is found in the answer of a message that was taken."""

    @field_validator("accepted")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


class Robots(_Part):
    """Where the group robots are; others than the public ones for a deployment of one's own."""

    wecom: Address = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
    dingtalk: Address = "https://oapi.dingtalk.com/robot/send"
    feishu: Address = "https://open.feishu.cn/open-apis/bot/v2/hook/"
    lark: Address = "https://open.larksuite.com/open-apis/bot/v2/hook/"


class Services(_Part):
    """Through which services of the site messages go; what is not named cannot be used."""

    mail: str | None = Field(default=None, pattern=r"^mailtos?://\S+$")
    """apprise's URL of the relay without the receiver, such as
    `mailtos://user:password@smtp.example.org:465?from=alarm@example.org&mode=ssl`."""
    wecom: str | None = Field(default=None, pattern=r"^wechat://\S+@\d+/?$")
    """apprise's URL of the application: `wechat://CORPID:SECRET@AGENTID`."""
    sms: SmsGateway | str | None = None
    """A gateway; or apprise's URL of an SMS service with `{phone}` where the number goes."""
    robots: Robots = Robots()


NONE: Final = Services()


def read_services(path: Path | None) -> Services:
    """What the file says. SettingsWrong: it is not there, or not in order; secrets are not told."""
    if path is None:
        return NONE
    try:
        return Services.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"HAZARDLOOP_NOTIFICATION_FILE {path}: {error}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise SettingsWrong(f"HAZARDLOOP_NOTIFICATION_FILE {path}: no YAML{line}") from error
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsWrong(
            f"HAZARDLOOP_NOTIFICATION_FILE {path}: {place}: {first['msg']}"
        ) from error
