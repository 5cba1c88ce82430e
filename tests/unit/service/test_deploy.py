"""What lies in deploy/, checked as far as it goes without an engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml

from hazardloop.service import cli
from hazardloop.service.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
MOSQUITTO = yaml.safe_load((DEPLOY / "compose.mosquitto.yml").read_text())
PROGRAM = "/opt/hazardloop/bin/hazardloop"


def understood(words: list[str]) -> bool:
    """Whether the command line takes these words."""
    try:
        cli._parser(words).parse_args(words)
    except SystemExit:
        return False
    return True


def settings_in(environment: dict[str, Any]) -> set[str]:
    return {name.removeprefix(PREFIX).lower() for name in environment if name.startswith(PREFIX)}


SERVICES: list[tuple[str, dict[str, Any]]] = [
    (f"{file}: {name}", service)
    for file, content in (("compose.yml", COMPOSE), ("compose.mosquitto.yml", MOSQUITTO))
    for name, service in content["services"].items()
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing here: apt-get install systemd")
        pytest.skip("systemd-analyze is missing on this machine")
    copy = tmp_path / unit.name.replace("@.", "@1.")
    copy.write_text(unit.read_text().replace(PROGRAM, "/bin/true"))
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True
    )
    about_it = [line for line in said.stderr.splitlines() if unit.stem.rstrip("@") in line]
    assert (said.returncode, about_it) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is_and_gains_no_rights(unit: Path) -> None:
    text = unit.read_text()
    (command,) = re.findall(rf"^ExecStart={PROGRAM} (.*)$", text, re.MULTILINE)
    assert understood(command.split())
    environment = re.findall(rf"^Environment=({PREFIX}\w+)=", text, re.MULTILINE)
    assert settings_in(dict.fromkeys(environment)) <= Settings.model_fields.keys()
    for line in ("User=hazardloop", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in text.splitlines(), f"{unit.name} lacks {line}"


@pytest.mark.parametrize(("name", "service"), SERVICES, ids=[name for name, _ in SERVICES])
def test_a_container_runs_a_command_that_there_is_with_settings_that_there_are(
    name: str, service: dict[str, Any]
) -> None:
    if "command" in service:
        assert understood(service["command"]), name
    assert settings_in(service.get("environment", {})) <= Settings.model_fields.keys()


@pytest.mark.parametrize("value", ["worker", "clerk", "api"])
def test_settings_of_a_container_are_accepted(value: str) -> None:
    environment = COMPOSE["services"][value]["environment"]
    given = {
        name.removeprefix(PREFIX).lower(): re.sub(r"\$\{\w+:[-?]([^}]*)\}", r"\1", str(text))
        for name, text in environment.items()
    }
    assert Settings.model_validate(given).mqtt_url.startswith("mqtt://worker:")


def test_containers_wait_for_services_that_there_are() -> None:
    for name, service in COMPOSE["services"].items():
        assert service.get("depends_on", {}).keys() <= COMPOSE["services"].keys(), name
        volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= COMPOSE["volumes"].keys(), name
    assert MOSQUITTO["services"].keys() <= COMPOSE["services"].keys()


def test_stages_and_files_of_the_image_exist() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    for _, service in SERVICES:
        if build := service.get("build"):
            assert build["target"] in stages
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source


def test_package_and_deploy_read_the_same_templates() -> None:
    linked = ROOT / "src" / "hazardloop" / "service" / "templates"
    assert linked.resolve() == DEPLOY / "templates"
    for template in (DEPLOY / "templates").iterdir():
        assert Template(template.read_text()).is_valid(), template
