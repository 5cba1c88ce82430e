"""The command line: what there is, which options it takes, and one clear line for what is wrong.

Modules are imported by the command that needs them, so that `--help` and a worker start quickly.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hazardloop import __version__
from hazardloop.service.errors import ServiceError

if TYPE_CHECKING:
    from hazardloop.service.settings import Settings

Arguments = argparse.Namespace


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code. Expected trouble is one line on standard error and a 1."""
    arguments = _parser(sys.argv[1:] if words is None else words).parse_args(words)
    run: Callable[[Arguments], int] = arguments.run
    try:
        return run(arguments)
    except ServiceError as trouble:
        print(f"hazardloop: {trouble}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hazardloop",
        description="Telemetry of major hazard sources, tiered alarms, and a disposal loop in which"
        " every alarm is handled.",
    )
    parser.add_argument("--version", action="version", version=f"hazardloop {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    chosen = next((word for word in words if not word.startswith("-")), "")
    for name, (explanation, run, add_options) in COMMANDS.items():
        command = commands.add_parser(name, help=explanation, description=explanation)
        command.set_defaults(run=run)
        if name == chosen:  # the options of some live in modules that take long to import
            add_options(command)
    return parser


def _embedded_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--home", type=Path, help="everything that is written lies below (./var)")
    command.add_argument("--port", type=int, dest="api_port", help="of page and API (8080)")
    command.add_argument("--host", dest="api_host", help="address of page and API (127.0.0.1)")
    command.add_argument("--mqtt-port", type=int, default=1883, help="for gateways (1883)")
    command.add_argument("--mqtt-host", default="127.0.0.1", help="for gateways (127.0.0.1)")
    command.add_argument(
        "--broker", choices=("nats", "mosquitto"), default="nats", help="which one to run (nats)"
    )


def _demo_options(command: argparse.ArgumentParser) -> None:
    _embedded_options(command)
    command.add_argument("--seed", type=int, help="of district and incidents (1)")
    command.add_argument("--speed", type=float, default=1.0, help="of the simulated world (1)")
    command.add_argument(
        "--for", type=float, dest="for_s", metavar="SECONDS", help="stop by itself, with a summary"
    )


def _serve_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--role", choices=("worker", "api", "clerk", "all", "broker"), required=True
    )
    command.add_argument(
        "--broker", choices=("nats", "mosquitto"), default="nats", help="of role broker (nats)"
    )


def _rules_options(command: argparse.ArgumentParser) -> None:
    from hazardloop.service import backtest

    actions = command.add_subparsers(metavar="ACTION", required=True)
    check = actions.add_parser("check", help="validates rule files, with line numbers")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    check.set_defaults(act=_check_rules)
    replay = actions.add_parser("backtest", help="replays history through candidate rules")
    replay.set_defaults(act=_backtest)
    backtest.add_arguments(replay)


def _simulate_options(command: argparse.ArgumentParser) -> None:
    from hazardloop.service import simulate

    simulate.add_arguments(command)


def _bench_options(command: argparse.ArgumentParser) -> None:
    from hazardloop.service import bench

    bench.add_arguments(command)


def _ledger_options(command: argparse.ArgumentParser) -> None:
    from hazardloop.service import ledger

    ledger.add_arguments(command)


def _home_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("--home", type=Path, help="of a service that `up` or `demo` runs (./var)")


def _watchdog_options(command: argparse.ArgumentParser) -> None:
    _home_option(command)
    command.add_argument(
        "--once",
        action="store_true",
        help="ask once and tell nobody: exit code 0 if canaries arrive, else 1",
    )


def _no_options(command: argparse.ArgumentParser) -> None:
    pass


def _settings(**given: Any) -> "Settings":
    from hazardloop.service.settings import read_settings

    return read_settings(**given)


def _demo(arguments: Arguments) -> int:
    from hazardloop.service import demo

    settings = _settings(
        home=arguments.home,
        api_port=arguments.api_port,
        api_host=arguments.api_host,
        database_url="",  # a district of our own never goes into somebody's database
        broker_sync=None if "HAZARDLOOP_BROKER_SYNC" in os.environ else "1s",
    )
    return asyncio.run(
        demo.run(
            settings,
            demo.Options(
                mqtt_host=arguments.mqtt_host,
                mqtt_port=arguments.mqtt_port,
                broker=arguments.broker,
                seed=arguments.seed,
                speed=arguments.speed,
                for_s=arguments.for_s,
            ),
        )
    )


def _up(arguments: Arguments) -> int:
    from hazardloop.service import up

    settings = _settings(
        home=arguments.home, api_port=arguments.api_port, api_host=arguments.api_host
    )
    return asyncio.run(up.run(settings, arguments.mqtt_host, arguments.mqtt_port, arguments.broker))


def _serve(arguments: Arguments) -> int:
    from hazardloop.service import serve

    return serve.run(arguments.role, _settings(), arguments.broker)


def _migrate(arguments: Arguments) -> int:
    from hazardloop.service import database
    from hazardloop.service.serve import database_url_of

    settings = _settings()
    service = database_url_of(settings)
    applied = asyncio.run(database.migrate(settings.database_owner_url or service, service))
    print("\n".join(applied) if applied else "nothing to do: the database is at this version")
    return 0


def _doctor(arguments: Arguments) -> int:
    from hazardloop.service import doctor

    return asyncio.run(doctor.run(lambda: _settings(home=arguments.home)))


def _watchdog(arguments: Arguments) -> int:
    from hazardloop.service import watchdog

    return watchdog.main(_settings(home=arguments.home), once=arguments.once)


def _ledger(arguments: Arguments) -> int:
    from hazardloop.service import ledger
    from hazardloop.service.embedded.installation import running_settings

    given = _settings(home=arguments.home)
    return ledger.main(arguments, running_settings(given.home) or given)


def _simulate(arguments: Arguments) -> int:
    from hazardloop.service import simulate

    return simulate.main(arguments)


def _rules(arguments: Arguments) -> int:
    act: Callable[[Arguments], int] = arguments.act
    return act(arguments)


def _backtest(arguments: Arguments) -> int:
    from hazardloop.service import backtest
    from hazardloop.service.embedded.installation import running_settings

    given = _settings(home=arguments.home)
    return backtest.main(arguments, running_settings(given.home) or given)


def _check_rules(arguments: Arguments) -> int:
    from hazardloop.alarms import rules
    from hazardloop.devices.catalog import shipped_catalog

    problems, catalog = [], shipped_catalog()
    for file in arguments.files:
        try:
            problems += rules.check(file.read_text(encoding="utf-8"), str(file), catalog)
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceError(f"{file} cannot be read: {error}") from error
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(arguments.files)} file(s) fine")
    return 1 if problems else 0


def _bench(arguments: Arguments) -> int:
    from hazardloop.service import bench

    return bench.main(arguments)


COMMANDS: Final[
    dict[
        str,
        tuple[str, Callable[[Arguments], int], Callable[[argparse.ArgumentParser], None]],
    ]
] = {
    "demo": ("a whole service with an invented district that lives", _demo, _demo_options),
    "up": ("a whole service on this machine, empty", _up, _embedded_options),
    "serve": (
        "one kind of process against broker and database of the settings", _serve, _serve_options
    ),
    "migrate": ("brings the database to this version", _migrate, _no_options),
    "doctor": ("checks what the service needs, a line each", _doctor, _home_option),
    "watchdog": (
        "asks from outside whether alarms get through, and shouts", _watchdog, _watchdog_options
    ),
    "ledger": ("verifies the ledger of all that was done", _ledger, _ledger_options),
    "simulate": ("a fleet of simulated gateways", _simulate, _simulate_options),
    "rules": ("what there is to do with rule files", _rules, _rules_options),
    "bench": ("measures a part; JSON on standard output", _bench, _bench_options),
}  # fmt: skip
