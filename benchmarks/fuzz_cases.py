"""People of all roles at the real API and database, for long; prints one JSON object.

    python -m benchmarks.fuzz_cases --examples 500 --steps 60 --seed 1

After every run of steps an oracle in plain SQL looks at the whole ledger (`tests/case_oracle.py`).
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from tests.case_fuzzer import fuzz

STAGES = "SELECT stage, count(*) FROM disposal_case GROUP BY stage ORDER BY stage"


def main() -> int:
    """Runs, and says what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"})
        server.start()
        try:
            asyncio.run(migrate(server.conninfo))
            home = Path(folder) / "home"
            done = fuzz(server.conninfo, home, chosen.examples, chosen.steps, chosen.seed)
            with psycopg.connect(server.conninfo) as connection:
                stages = dict(connection.execute(STAGES).fetchall())
        finally:
            server.stop()
    print(
        json.dumps(
            vars(chosen)
            | {"seconds": round(time.monotonic() - began, 1), "stages": stages, "steps": done}
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
