"""Prints the figures of the rules, as JSON lines: a pass over all points and small batches, looking
for silent points, compiling.

python benchmarks/bench_rules.py --points 440000 --rules 5
"""

import argparse
import json

from hazardloop.service.bench_rules import run, run_compile, run_stale


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=440_000)
    parser.add_argument("--rules", type=int, default=5, help="each with two limits at every point")
    parser.add_argument("--silent", type=int, default=1_000_000, help="points watched for silence")
    parser.add_argument("--compiled", type=int, default=1_000, help="rules over all points")
    given = parser.parse_args()
    print(json.dumps(run(given.points, given.rules)), flush=True)
    print(json.dumps(run_stale(given.silent)), flush=True)
    print(json.dumps(run_compile(given.points, given.compiled)), flush=True)


if __name__ == "__main__":
    main()
