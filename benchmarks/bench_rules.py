"""Prints the figures of one pass of the rules over all points, as JSON.

python benchmarks/bench_rules.py --points 440000 --rules 2
"""

import argparse
import json

from hazardloop.service.bench_rules import run


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=440_000)
    parser.add_argument("--rules", type=int, default=2, help="each with two limits at every point")
    given = parser.parse_args()
    print(json.dumps(run(given.points, given.rules)))


if __name__ == "__main__":
    main()
