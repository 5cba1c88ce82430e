"""One frozen Settings, read once from environment and `hazardloop.toml`, passed down as values."""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from hazardloop.service.errors import SettingsWrong

PREFIX: Final = "HAZARDLOOP_"
FOREIGN: Final = {"HAZARDLOOP_TEST_DATABASE_URL"}
"""Variables with our prefix that are not settings of the service."""


class Settings(BaseModel):
    """What an operator of the service may set; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    home: Path = Path("var")
    """Where everything of an embedded run, evidence and secrets are kept."""
    database_url: str = ""
    """PostgreSQL, as libpq takes it; empty = the embedded one of `demo` and `up`."""
    database_owner_url: str = ""
    """The same database as its owner, for `migrate` alone; empty = database_url. With it, name
    hazardloop_service in database_url: worker, clerk and api then own nothing that guards."""
    mqtt_url: str = "mqtt://127.0.0.1:1883"
    """Broker: mqtt:// or mqtts://, with user name and password where it wants them."""
    mqtt_ca_file: Path | None = None
    """Certificates that may sign the broker's; empty = the system's."""
    mqtt_protocol: Literal["3.1.1", "5"] = "3.1.1"
    mqtt_client_id: str = ""
    """Of the worker's persistent session; empty = a random one kept in the home."""
    mqtt_share: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    """Name of a group of workers that share the messages ($share, MQTT 5); empty = each gets all.
    Most brokers spread message by message: alarms need all readings of a point at one worker."""
    mqtt_window: int = Field(default=20_000, ge=1, le=60_000)
    """Most messages a worker holds unacknowledged before it stops reading."""
    settle_s: float = Field(default=0.0, ge=0, le=60)
    """After an unclean stop, how long to collect before evaluating: redelivery time of the broker
    plus 2 s where it redelivers late (NATS: 12), 0 where at once (Mosquitto)."""
    batch_messages: int = Field(default=5_000, ge=1, le=50_000)
    batch_ms: int = Field(default=50, ge=1, le=5_000)
    spool_bytes: int = Field(default=4 << 30, ge=1 << 20)
    """Most that a worker keeps on its disk while the database is away; a reading takes some 35
    bytes, so 4 GiB last six hours at 5,000 readings per second."""
    spool_reserve_bytes: int = Field(default=512 << 20, ge=0)
    """Free room on that disk that the spool never takes."""
    spool_drain_per_s: int = Field(default=50_000, ge=0)
    """Readings per second that are recorded from the spool once the database is back, so that live
    data goes on; 0 = as fast as it goes."""
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=1, le=65_535)
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Where worker and clerk serve /metrics themselves; 0 = only through the api's."""
    canary_every_s: float = Field(default=30.0, ge=0.1, le=3_600)
    """How often the clerk sends a synthetic alarm through the whole path."""
    canary_within_s: float = Field(default=90.0, ge=0.3)
    """After how long without one that arrived the path counts as broken; at least twice as long."""
    watchdog_url: str = Field(default="", pattern=r"^(https?://[^\s/?#@]+)?$")
    """Which service `hazardloop watchdog` asks; empty = the one of this home, or machine."""
    watchdog_file: Path | None = None
    """YAML file with the channels over which it shouts; deploy/README.md shows one."""
    tz: str = "Asia/Shanghai"
    lang: Literal["zh-CN", "en"] = "zh-CN"
    broker_sync: str = Field(default="always", pattern=r"^(always|\d+(ms|s|m))$")
    """Embedded broker only: `always` survives power loss, an interval (`1s`) may cost that."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s/?#@]+)?$")
    """Where phones reach the api, such as https://alarm.example.org; empty = messages bring no
    link."""
    notification_file: Path | None = None
    """YAML file with the mail relay, SMS gateway and WeCom application of the site; docs/notices.md
    shows one."""
    notify_private: bool = False
    """Whether webhooks, gateways and robots may lie in private networks, and speak plain http."""
    simulation_logins: Path | None = None
    """JSON file of logins as `simulate --credentials` takes it: testers may start simulated fleets
    that use them; empty = nobody starts any. Never in a production site."""
    kinds_dir: Path | None = None
    """Further device kinds and rules, one YAML file each, beside the built-in ones."""
    evidence_store: str = Field(default="", pattern=r"^(s3://[a-z0-9][a-z0-9.-]+(/.*)?)?$")
    """Where files of evidence are kept: s3://BUCKET/PREFIX; empty = `evidence` in the home."""
    evidence_s3_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Of an S3-compatible service; empty = Amazon's."""
    evidence_s3_region: str = "us-east-1"
    evidence_s3_access_key: str = ""
    evidence_s3_secret_key: str = ""
    dead_letter_days: int = Field(default=90, ge=1)
    shelve_red_minutes: int = Field(default=30, ge=0, le=60)
    """Longest that a red alarm is shelved, with two supervisors' leave; 0 = never."""
    raw_days: int = Field(default=180, ge=35)
    """How long single readings are kept; longer than they may come late."""
    minute_days: int = Field(default=400, ge=35)
    """How long sums of a minute are kept."""
    hour_days: int = Field(default=1_200, ge=35)
    """How long sums of an hour are kept: years are compared month by month."""
    dead_letters_per_minute: int = Field(default=100, ge=1, le=10_000)
    """Of each gateway that are kept with their payload; the rest is counted."""
    balance_minute_days: int = Field(default=40, ge=32)
    """The message balance minute by minute; a number missed for longer stays missing."""
    balance_days: int = Field(default=1_100, ge=40)
    """Daily statements."""
    ledger_dir: Path | None = None
    """Where signed checkpoints of the ledger are written, best out of reach of who administers the
    database; empty = `ledger` in the home."""

    @field_validator("tz")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except Exception as error:
            raise ValueError(f"{name!r} is not a time zone such as Asia/Shanghai") from error
        return name

    @field_validator("canary_within_s")
    @classmethod
    def _one_may_be_late(cls, within_s: float, others: ValidationInfo) -> float:
        every_s = others.data.get("canary_every_s", 0.0)
        if within_s < 2 * every_s:
            raise ValueError(f"at least twice HAZARDLOOP_CANARY_EVERY_S ({every_s:g}) is needed")
        return within_s

    @field_validator("mqtt_share")
    @classmethod
    def _mqtt_5_shares(cls, share: str, others: ValidationInfo) -> str:
        if share and others.data.get("mqtt_protocol") != "5":
            raise ValueError(
                "shared subscriptions are a part of MQTT 5: set HAZARDLOOP_MQTT_PROTOCOL=5 and a"
                " broker that speaks it (Mosquitto, EMQX; the embedded NATS speaks 3.1.1 only)"
            )
        return share

    @field_validator("mqtt_url")
    @classmethod
    def _mqtt_scheme(cls, url: str) -> str:
        if not url.startswith(("mqtt://", "mqtts://")):
            raise ValueError(f"{url!r} does not start with mqtt:// or mqtts://")
        return url

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a child process."""
        return {
            PREFIX + key.upper(): str(value)
            for key, value in self.model_dump(exclude_none=True).items()
        }


def read_settings(
    environment: Mapping[str, str] = os.environ, file: Path = Path("hazardloop.toml"), **given: Any
) -> Settings:
    """Settings from `file`, overridden by `environment`, overridden by `given`.

    Raises SettingsWrong: a key is not known (the nearest one is named), or a value out of range.
    """
    values: dict[str, Any] = {}
    if file.exists():
        try:
            values |= tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsWrong(f"{file}: {error}") from error
    values |= {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in FOREIGN
    }
    values |= {key: value for key, value in given.items() if value is not None}
    for key in values:
        if key not in Settings.model_fields:
            raise SettingsWrong(_unknown(key))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsWrong(
            f"setting {PREFIX}{key.upper()} = {first['input']!r}: {first['msg']}"
        ) from error


def _unknown(key: str) -> str:
    near = difflib.get_close_matches(key, Settings.model_fields, n=1)
    hint = f"; did you mean {PREFIX}{near[0].upper()}?" if near else ""
    return f"unknown setting {PREFIX}{key.upper()}{hint}"
