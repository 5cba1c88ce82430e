"""`hazardloop simulate`: a fleet of simulated gateways, and how well the service heard them."""

import argparse
import asyncio
import json
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final

import msgspec

from hazardloop.service import logs, simulate_score
from hazardloop.service.errors import ServiceError
from hazardloop.service.settings import read_settings
from hazardloop.simulators.errors import ScenarioUnreadable
from hazardloop.simulators.fleet import Fleet, FleetOptions
from hazardloop.simulators.logbook import Counts, TruthRecord, counts_json
from hazardloop.simulators.scenario_file import Scenario, parse_scenario
from hazardloop.simulators.session import Login, broker_address

log = logging.getLogger(__name__)

SETTLE_S: Final = 5.0
"""After the run, until the service has surely written down the last of it."""


class SimulationWrong(ServiceError):
    """A scenario, a file of logins or an option of `simulate` is not usable."""


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """What the command line says; None = as the scenario says."""

    scenario: Path | None = None
    """None = the demo's district."""
    gateways: int | None = None
    points: int | None = None
    rate: float | None = None
    """Reports per second of the whole fleet."""
    interval_s: float | None = None
    seed: int | None = None
    speed: float | None = None
    mqtt_url: str | None = None
    credentials: Path | None = None
    for_s: float | None = None
    out: Path | None = None
    score: bool = False
    api_url: str | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """A run that is over."""

    scenario: Scenario
    counts: Counts
    truths: list[TruthRecord]
    ended_s: float
    """Seconds since the Unix epoch."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `hazardloop simulate`."""
    add = parser.add_argument
    add("--scenario", type=Path, metavar="FILE", help="YAML; without it the demo's district")
    add("--gateways", type=int, metavar="N", help="how many, instead of the scenario's")
    add("--points", type=int, metavar="N", help="at least so many, instead of the scenario's")
    add("--rate", type=float, metavar="MSGS_PER_S", help="reports per second of the whole fleet")
    add("--interval", type=float, dest="interval_s", metavar="S", help="between two of a gateway")
    add("--seed", type=int, metavar="N", help="instead of the scenario's")
    add("--speed", type=float, metavar="X", help="of the simulated world; time stamps stay real")
    add("--mqtt-url", metavar="URL", help="mqtt://host:port or mqtts://host:port")
    add("--credentials", type=Path, metavar="FILE",
        help='JSON {"ENTERPRISE/GATEWAY": {"username", "password"}}; others stay away')  # fmt: skip
    add("--for", type=float, dest="for_s", metavar="S", help="stop by itself")
    add("--out", type=Path, metavar="DIR", help="for truth.jsonl and counts.json")
    add("--score", action="store_true", help="read the alarms back and judge them; needs --for")
    add("--api-url", metavar="URL", help="of the service, such as http://127.0.0.1:8080")
    add("--token", metavar="T", help="of a user of the service who sees all enterprises")


def main(arguments: argparse.Namespace) -> int:
    """Runs a fleet; the exit code. ServiceError: an option or file is not usable."""
    logs.configure("fleet")
    options = options_of(arguments)
    played = asyncio.run(_until_signalled(options))
    if not options.score:
        print(json.dumps(counts_json(played.counts)))
        return 0
    time.sleep(SETTLE_S)
    found = simulate_score.judge(played, str(options.api_url), str(options.token))
    shortfalls = found.shortfalls(played.scenario.thresholds)
    print(json.dumps({**asdict(found), "shortfalls": shortfalls}, ensure_ascii=False))
    return 1 if shortfalls else 0


def options_of(arguments: argparse.Namespace) -> SimulateOptions:
    """What was asked for. SimulationWrong: it cannot be done so."""
    given = vars(arguments)
    options = SimulateOptions(**{name: given[name] for name in SimulateOptions.__slots__})
    for name in ("gateways", "points", "rate", "interval_s", "speed", "for_s"):
        if given[name] is not None and not given[name] > 0:
            raise SimulationWrong(f"--{name.removesuffix('_s')}: {given[name]:g}, want more than 0")
    if options.score and not (options.for_s and options.api_url and options.token):
        raise SimulationWrong("--score needs --for, --api-url and --token")
    return options


async def _until_signalled(options: SimulateOptions) -> Played:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return await run(options, stop)


async def run(options: SimulateOptions, stop: asyncio.Event | None = None) -> Played:
    """Plays a scenario until `stop` or `for_s`. SimulationWrong: a file or option is not usable."""
    scenario = _scenario(options)
    interval_s = options.interval_s
    if options.rate is not None:
        interval_s = scenario.gateways / options.rate
    try:
        url = options.mqtt_url or read_settings().mqtt_url
        fleet = Fleet(
            FleetOptions(
                scenario,
                broker_address(url),
                logins=_logins(options.credentials),
                interval_s=interval_s,
                for_s=options.for_s,
                out=_fresh(options.out),
            ),
            _telling(),
        )
        counts = await fleet.run(stop or asyncio.Event())
    except (ScenarioUnreadable, ValueError, OSError) as error:
        raise SimulationWrong(str(error)) from error
    return Played(scenario, counts, fleet.truths, time.time())


def _scenario(options: SimulateOptions) -> Scenario:
    """The scenario with what the command line changes of it."""
    try:
        if options.scenario is None:
            file = resources.files("hazardloop.simulators") / "district.yaml"
            scenario = parse_scenario(file.read_text(encoding="utf-8"), "district.yaml")
        else:
            text = options.scenario.read_text(encoding="utf-8")
            scenario = parse_scenario(text, str(options.scenario))
    except (OSError, UnicodeDecodeError) as error:
        raise SimulationWrong(f"{options.scenario} cannot be read: {error}") from error
    except ScenarioUnreadable as error:
        raise SimulationWrong(str(error)) from error
    changes = {
        name: value
        for name in ("gateways", "points", "seed", "speed")
        if (value := getattr(options, name)) is not None
    }
    return replace(scenario, **changes)


def _logins(file: Path | None) -> dict[str, Login] | None:
    if file is None:
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Login])
    except (OSError, msgspec.DecodeError) as error:
        raise SimulationWrong(f"logins {file} cannot be read: {error}") from error


def _fresh(out: Path | None) -> Path | None:
    """The directory, without what an earlier run left in it."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "truth.jsonl").write_text("")
    return out


def _telling() -> Callable[[Counts], None]:
    """Logs how many gateways are connected, whenever that has changed."""
    told = -1

    def tell(counts: Counts) -> None:
        nonlocal told
        if counts.connected != told:
            told = counts.connected
            fields = {"connected": told, "gateways": counts.gateways, "trouble": counts.trouble}
            log.info("fleet connected", extra=fields)

    return tell
