"""What tools say about the code is part of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent

CHECKS = {
    "ruff finds nothing in the code": ["ruff", "check", "--no-cache", ".", "hazardloop"],
    "mypy finds nothing in the package": ["mypy"],
    "imports point one way": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS)
def test_tools_are_content(command: list[str]) -> None:
    program = TOOLS / command[0]
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
