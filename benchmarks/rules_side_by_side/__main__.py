"""Rules over all points in turn by us, by a JavaScript function flow, and by SQL.

    python -m benchmarks.rules_side_by_side --points 100000 --sql-python ./duck/bin/python

The same values; all three must tell of as many changes. Figures are medians of processor seconds of
one round, one thread each; without `--sql-python`, a Python that has DuckDB, there is no SQL; node
is looked for on the PATH. Prints one JSON object.
"""

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hazardloop.alarms.alarm import Direction
from hazardloop.alarms.evaluation import evaluate
from hazardloop.alarms.memory import new_memory
from hazardloop.alarms.rule import Rule, Threshold
from hazardloop.alarms.rule_table import compile_rules
from hazardloop.alarms.rule_watches import US_PER_S
from hazardloop.service.bench_rules import bench_pass, bench_registry, bench_rule
from hazardloop.service.benches.load import machine

HERE = Path(__file__).parent
INTERVAL_US = 30 * US_PER_S


def ours(rules: list[Rule], points: int, rounds: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Changes, and processor seconds of each round."""
    table = compile_rules(rules, bench_registry(points))
    memory, changes, seconds = new_memory(table), 0, []
    for nth, value in enumerate(rounds):
        batch = bench_pass(points, nth, np.random.default_rng(1))
        batch.value[:] = value
        start = time.process_time()
        changes += len(evaluate(table, memory, batch).changes)
        seconds.append(time.process_time() - start)
    return {"changes": changes, "seconds": seconds}


def told(command: list[str]) -> dict[str, Any]:
    """What another program prints."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def plain(rule: Rule) -> dict[str, Any]:
    """A rule for the others."""
    assert isinstance(rule.condition, Threshold)
    return {
        "id": rule.rule_id,
        "high": rule.condition.direction is Direction.HIGH,
        "deadband": rule.condition.deadband,
        "offDelayUs": round(rule.off_delay_s * US_PER_S),
        "limits": [{"tier": int(tier), "limit": limit} for tier, limit in rule.condition.limits],
    }


def side_by_side(points: int, many: int, rounds: int, share: float, sql: str) -> dict[str, Any]:
    """The three in turn."""
    rules, dice = [bench_rule(nth) for nth in range(many)], np.random.default_rng(1)
    values = [dice.uniform(40.0, 60.0, points) for _ in range(rounds)]
    for value in values:
        value[dice.random(points) < share] = 99.0
    with TemporaryDirectory(prefix="hazardloop-bench-") as folder:
        Path(folder, "rules.json").write_text(json.dumps([plain(rule) for rule in rules]))
        for nth, value in enumerate(values):
            value.tofile(f"{folder}/round-{nth}.bin")
        given = [folder, str(points), str(rounds), str(INTERVAL_US)]
        found = {"hazardloop": ours(rules, points, values)}
        if node := shutil.which("node"):
            found["javascript function flow"] = told([node, str(HERE / "flow.js"), *given])
        if sql:
            found["DuckDB"] = told([sql, str(HERE / "in_sql.py"), *given])
    assert len({one["changes"] for one in found.values()}) == 1, "all tell the same"
    cpu_ms = {name: 1e3 * median(one["seconds"]) for name, one in found.items()}
    return {
        "bench": "rules_side_by_side",
        "points": points,
        "rules": many,
        "rounds": rounds,
        "beyond_a_limit": share,
        "changes": found["hazardloop"]["changes"],
        "cpu_ms_each_round": {name: round(each, 2) for name, each in cpu_ms.items()},
        "ours_over": {
            name: round(each / cpu_ms["hazardloop"], 1)
            for name, each in cpu_ms.items()
            if name != "hazardloop"
        },
        "machine": machine(),
    }


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rules", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=1e-4, help="of readings beyond a limit")
    parser.add_argument("--sql-python", default="", help="a Python that has DuckDB and numpy")
    given = parser.parse_args()
    print(json.dumps(side_by_side(
        given.points, given.rules, given.rounds, given.share, given.sql_python
    )))  # fmt: skip


if __name__ == "__main__":
    main()
