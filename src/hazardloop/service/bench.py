"""The `bench` command: one JSON object on standard output."""

import argparse
import asyncio
import json
import sys
from typing import Any, Final

NAMES: Final = ("decode", "rules", "store", "receive", "pipeline", "latency")
POINTS: Final = 2_500
RULE_POINTS: Final = 440_000
"""As many points as were connected nationwide in 2022."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("name", choices=NAMES, nargs="?", default="pipeline")
    parser.add_argument("--messages", type=int, help="default: as many as take some seconds")
    parser.add_argument("--values", type=int, default=1, help="readings in each message")
    parser.add_argument("--rate", type=float, help="messages a second; default: unbounded")
    parser.add_argument("--broker", choices=("nats", "mosquitto"), default="nats")
    parser.add_argument("--sync", default="1s", help="of the broker: always, or an interval")
    parser.add_argument("--points", type=int)
    parser.add_argument("--rules", type=int, default=2)


def main(arguments: argparse.Namespace) -> int:
    """Prints the figures; 1 if one reading is missing."""
    figures = _run(arguments)
    print(json.dumps(figures))
    missing = figures.get("missing", 0) or figures.get("unheard", 0)
    if missing:
        print(f"{missing} of what was sent did not arrive", file=sys.stderr)
    return 1 if missing else 0


def _run(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.name == "rules":
        from hazardloop.service import bench_rules

        return bench_rules.run(arguments.points or RULE_POINTS, arguments.rules)
    from hazardloop.service.benches.load import Load

    points = arguments.points or POINTS
    if arguments.name in ("decode", "receive", "store"):
        from hazardloop.service.benches import parts

        bench = {
            "decode": parts.bench_decode,
            "receive": parts.bench_receive,
            "store": parts.bench_store,
        }[arguments.name]
        return bench(Load(arguments.messages or 100_000, arguments.values, points))
    from hazardloop.service.benches import running

    if arguments.name == "latency":
        rate = arguments.rate or 10_000.0
        load = Load(arguments.messages or int(rate * 20), arguments.values, points)
        return asyncio.run(running.bench_latency(arguments.broker, load, rate, arguments.sync))
    default = 300_000 if arguments.broker == "mosquitto" else 100_000
    load = Load(arguments.messages or default, arguments.values, points)
    rate = arguments.rate or 0.0
    return asyncio.run(running.bench_pipeline(arguments.broker, load, rate, arguments.sync))
