"""The examples of docs/gateways.md do what the page says."""

import json
import os
import re
import subprocess
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from tests import worlds
from tests.brokers import mosquitto
from tests.integration.test_pipeline import at_work
from tests.worlds import REPOSITORY, eventually, query

EXAMPLE = re.compile(r"```json\n(.*?)\n```\n```sh\n(.*?)\n```", re.DOTALL)
LEVELS = """
    SELECT count(*) FROM reading JOIN point p USING (point_id) JOIN device d USING (device_id)
     WHERE d.code = 'TK-5' AND p.quantity = 'level' AND abs(value - 7.42) < 1e-9"""


def test_each_example_becomes_a_reading(database: str, tmp_path: Path, home: Path) -> None:
    examples = EXAMPLE.findall((REPOSITORY / "docs" / "gateways.md").read_text())
    assert {json.loads(spoken)["dialect"] for spoken, _ in examples} == {
        "thingsboard", "senml", "mapping", "sparkplug", "hazardloop",
    }  # fmt: skip
    worlds.register(database, {"TK-5": "tank"}, enterprise="E003", gateway="GW-12")
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as broker, at_work(database, broker, home):
        told = {"HOST": "127.0.0.1", "PORT": str(broker.port), "USERNAME": "u", "PASSWORD": "p"}
        for spoken, script in examples:
            given = json.loads(spoken)
            with psycopg.connect(database) as connection:
                connection.execute(
                    "UPDATE gateway SET dialect = %s, profile = %s WHERE code = 'GW-12'",
                    [given["dialect"], Jsonb(given["profile"])],
                )
            before = query(database, LEVELS)

            def understood(script: str = script, before: object = before) -> bool:
                subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", script], env=os.environ | told, check=True
                )
                return query(database, LEVELS) != before

            eventually(understood, f"the example of {given['dialect']} is stored")
