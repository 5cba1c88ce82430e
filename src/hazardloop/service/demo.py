"""`hazardloop demo`: the whole service with an invented district and a fleet that reports."""

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hazardloop.service import database, demo_district, logs
from hazardloop.service.demo_district import Keys
from hazardloop.service.embedded.child import Child
from hazardloop.service.embedded.home import occupied
from hazardloop.service.embedded.installation import Installation, own_command, require_ports
from hazardloop.service.embedded.supervisor import for_ever
from hazardloop.service.embedded.templates import write_private
from hazardloop.service.settings import Settings
from hazardloop.service.up import meaning

COUNTED: Final = """
    SELECT (SELECT count(*) FROM reading),
           (SELECT count(*) FROM disposal_case),
           (SELECT count(*) FROM disposal_case WHERE stage = 'closed')"""
BY_TIER: Final = "SELECT tier, count(*) FROM alarm WHERE NOT drill GROUP BY tier ORDER BY tier DESC"
TIERS: Final = {4: "red", 3: "orange", 2: "yellow", 1: "blue"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about a demo, beside the settings."""

    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    broker: str = "nats"
    seed: int | None = None
    speed: float = 1.0
    for_s: float | None = None


async def run(settings: Settings, options: Options) -> int:
    """Runs until SIGTERM, SIGINT or `for_s`; the exit code. ServiceError: what is missing."""
    logs.configure("demo", "WARNING")
    say = _Progress()
    # What names a broker does not count: a demo always brings its own.
    given = settings.model_dump(exclude={"mqtt_url"}, exclude_unset=True)
    ours = Settings.model_validate(given | {"home": settings.home.resolve()})
    require_ports(ours, options.mqtt_host, options.mqtt_port)
    with occupied(settings.home) as home:
        (home / "demo.json").unlink(missing_ok=True)  # of an earlier run: its processes are gone
        keys = demo_district.keys_of(home, options.seed, say)

        # Hashing takes a while: meanwhile the database is being made.
        rows = asyncio.create_task(asyncio.to_thread(demo_district.statements, keys))

        async def furnish(conninfo: str) -> None:
            async with await database.connect(conninfo, "demo") as connection:
                say(await demo_district.furnish(connection, keys, rows))

        def send_out_the_fleet() -> None:
            installation.supervisor.keep(_fleet(installation, keys, options.speed))
            say("fleet is on its way")

        installation = Installation(
            ours, options.mqtt_host, options.mqtt_port, options.broker,
            say=say, furnish=furnish, admitted=send_out_the_fleet,
        )  # fmt: skip

        async def play() -> None:
            # Only now: whoever finds the file may use all that it names.
            installation.supervisor.changed = lambda: _tell(installation, keys)
            _tell(installation, keys)
            _announce(installation, keys)
            if options.for_s is None:
                await for_ever()
            else:
                await asyncio.sleep(options.for_s)
                await _summary(installation, home, options.for_s)

        try:
            await installation.operate(play)
        finally:
            rows.cancel()
            (home / "demo.json").unlink(missing_ok=True)
    say("stopped")
    return 0


class _Progress:
    """Lines with the seconds since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)


def _fleet(installation: Installation, keys: Keys, speed: float) -> Child:
    home = installation.settings.home
    credentials = home / "secrets" / "fleet.json"
    write_private(credentials, json.dumps(keys.fleet()))
    words = [
        "simulate", "--seed", str(keys.seed), "--speed", str(speed),
        "--mqtt-url", f"mqtt://{installation.mqtt_address}", "--credentials", str(credentials),
        "--out", str(home / "simulate"),
    ]  # fmt: skip
    return own_command("fleet", words, installation.settings)


def _tell(installation: Installation, keys: Keys) -> None:
    """Writes demo.json anew: a process has another id."""
    door = installation.door
    names = {door.broker.child.name if door else "": "broker", "postgres": "database"}
    running = {names.get(name, name): pids for name, pids in installation.supervisor.pids().items()}
    wanted = ("worker", "api", "clerk", "broker", "database")
    write_private(
        installation.settings.home / "demo.json",
        json.dumps(
            {
                "url": installation.url,
                "mqtt_url": f"mqtt://{installation.mqtt_address}",
                "users": keys.logins(),
                "try": keys.try_gateway(),
                "processes": {name: running.get(name, []) for name in wanted},
            },
            indent=2,
        ),
    )


def _announce(installation: Installation, keys: Keys) -> None:
    print(f"\npage      {installation.url}\ngateways  mqtt://{installation.mqtt_address}")
    print(f"broker    {meaning(installation.settings.broker_sync)}\nlogins")
    for role, login in keys.logins().items():
        print(f"  {role:<11} {login['username']} / {login['password']}")
    gateway = keys.try_gateway()
    print(f"a gateway to play with: {gateway['username']} / {gateway['password']}")
    print(
        f"  mosquitto_pub -h {installation.mqtt_address.rpartition(':')[0]}"
        f" -p {installation.mqtt_port}"
        f" -u {gateway['username']} -P {gateway['password']} -q 1"
        f" -t hl/v1/{gateway['enterprise']}/{gateway['gateway']}/telemetry"
        """ -m '{"values": {"GD-TRY.lel": 60}}'"""
    )
    print(
        f"all of it in {installation.settings.home / 'demo.json'}; Ctrl-C stops everything\n",
        flush=True,
    )


async def _summary(installation: Installation, home: Path, seconds: float) -> None:
    counts = home / "simulate" / "counts.json"
    sent = json.loads(counts.read_text())["messages_acknowledged"] if counts.exists() else 0
    async with await database.connect(installation.conninfo, "demo") as connection:
        readings, cases, closed = (await (await connection.execute(COUNTED)).fetchone()) or (
            0,
            0,
            0,
        )
        tiers: dict[int, int] = dict(await (await connection.execute(BY_TIER)).fetchall())
    alarms = sum(tiers.values())
    rate = f"{closed / alarms:.1%}" if alarms else "none raised"
    by_tier = ", ".join(f"{name} {tiers.get(tier, 0)}" for tier, name in TIERS.items())
    print(f"\nafter {seconds:.0f} s: {sent} messages of this run acknowledged, {readings} readings")
    print(f"alarms {alarms} ({by_tier}), cases {cases}, closed {closed}, handling rate {rate}")
    print(f"processes: {os.getpid()} and {len(installation.supervisor.pids())} more", flush=True)
