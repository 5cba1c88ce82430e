"""`hazardloop up`: a whole service on one machine, ready for its first enterprise."""

import secrets
from typing import Final

from hazardloop.service import database, logs
from hazardloop.service.embedded.home import occupied
from hazardloop.service.embedded.installation import Installation, require_ports
from hazardloop.service.embedded.supervisor import for_ever
from hazardloop.service.passwords import hash_password
from hazardloop.service.settings import Settings

NOBODY_YET: Final = "SELECT NOT EXISTS (SELECT FROM user_account)"
ADD_ADMINISTRATOR: Final = """
    INSERT INTO user_account (username, display_name, role, password_hash, language)
    VALUES ('admin', %(name)s, 'admin', %(password_hash)s, %(language)s)"""


async def run(settings: Settings, mqtt_host: str, mqtt_port: int, broker: str) -> int:
    """Runs until SIGTERM or SIGINT; the exit code. ServiceError: what is missing."""
    logs.configure("up", "WARNING")
    require_ports(settings, mqtt_host, mqtt_port)
    with occupied(settings.home):

        async def announce() -> None:
            # Not before all has started: a password nobody saw would lock everybody out.
            password = await make_administrator(installation.conninfo, settings.lang)
            print(
                f"\npage and API  {installation.url}\ngateways      mqtt://{installation.mqtt_address}"
            )
            print(f"broker sync   {settings.broker_sync}: {meaning(settings.broker_sync)}")
            if password:
                print(f"first login   admin / {password}   (shown once: write it down)")
            print("Ctrl-C stops everything", flush=True)
            await for_ever()

        installation = Installation(settings, mqtt_host, mqtt_port, broker, say=say)
        await installation.operate(announce)
    say("stopped")
    return 0


async def make_administrator(conninfo: str, language: str) -> str:
    """The password of a new user `admin`; empty when there are users already."""
    async with await database.connect(conninfo, "up") as connection:
        row = await (await connection.execute(NOBODY_YET)).fetchone()
        if not (row and row[0]):
            return ""
        password = secrets.token_urlsafe(12)
        name = "系统管理员" if language == "zh-CN" else "Administrator"
        await connection.execute(
            ADD_ADMINISTRATOR,
            {"name": name, "password_hash": hash_password(password), "language": language},
        )
        return password


def meaning(sync: str) -> str:
    """What an operator has to know about how often the broker writes to the disk."""
    if sync == "always":
        return "what a gateway got acknowledged survives a power cut"
    return (
        f"a power cut may cost the last {sync} of acknowledged messages; a killed process nothing"
    )


def say(text: str) -> None:
    """A line of progress."""
    print(f"hazardloop: {text}", flush=True)
