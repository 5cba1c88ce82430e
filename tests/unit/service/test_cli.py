"""The command line: what it offers, and one clear line for what is wrong."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hazardloop.service import cli, doctor
from hazardloop.service.embedded import home
from hazardloop.service.embedded.supervisor import LONGEST_PAUSE_S, pause_before
from hazardloop.service.errors import ServiceError

HEAVY = ("numpy", "fastapi", "psycopg", "nats", "aiomqtt", "pydantic")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HAZARDLOOP_")]:
        monkeypatch.delenv(name)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error of a command that ends with 1."""
    assert cli.main(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    return said[0]


def test_help_imports_nothing_that_takes_long() -> None:
    script = (
        "import sys\nfrom hazardloop.service import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_its_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"hazardloop {command}" in capsys.readouterr().out


def test_an_unknown_setting_names_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HAZARDLOOP_API_PROT", "8080")
    said = refusal(capsys, "up", "--home", "new")
    assert "HAZARDLOOP_API_PROT" in said
    assert "HAZARDLOOP_API_PORT?" in said
    assert not (tmp_path / "new").exists()


def test_a_setting_out_of_range_is_named_with_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HAZARDLOOP_API_PORT", "70000")
    said = refusal(capsys, "demo")
    assert "HAZARDLOOP_API_PORT" in said
    assert "70000" in said


@pytest.mark.parametrize("option", ["--port", "--mqtt-port"])
@pytest.mark.parametrize("command", ["demo", "up"])
def test_an_occupied_port_is_told_before_anything_is_made(
    command: str, option: str, capsys: pytest.CaptureFixture[str], free_port: int, tmp_path: Path
) -> None:
    other = "--mqtt-port" if option == "--port" else "--port"
    with socket.create_server(("127.0.0.1", 0)) as occupant:
        port = str(occupant.getsockname()[1])
        said = refusal(capsys, command, "--home", "new", option, port, other, str(free_port))
    assert port in said
    assert option in said
    assert not (tmp_path / "new").exists()


def test_too_little_room_is_told_and_leaves_no_home_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_port: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(home, "LEAST_FREE", 1 << 60)
    said = refusal(
        capsys, "up", "--home", "a/b", "--port", str(free_port), "--mqtt-port", str(free_port)
    )
    assert "MiB are free" in said
    assert "--home" in said
    assert not (tmp_path / "a").exists()


def test_a_home_that_cannot_be_made_is_told(
    capsys: pytest.CaptureFixture[str], free_port: int, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = refusal(
        capsys, "up", "--home", "file/home", "--port", str(free_port), "--mqtt-port", str(free_port)
    )
    assert "cannot be written" in said


def test_one_home_serves_one_run_at_a_time(tmp_path: Path) -> None:
    with home.occupied(tmp_path / "home"), pytest.raises(home.HomeUnusable, match=str(os.getpid())):
        home.occupied(tmp_path / "home").__enter__()


@pytest.mark.parametrize("role", ["worker", "api", "clerk", "all", "broker"])
def test_serve_wants_a_database_named(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "HAZARDLOOP_DATABASE_URL" in refusal(capsys, "serve", "--role", role)


def test_migrate_says_which_database_is_absent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    monkeypatch.setenv("HAZARDLOOP_DATABASE_URL", f"postgresql://x@127.0.0.1:{free_port}/x")
    said = refusal(capsys, "migrate")
    assert f"127.0.0.1:{free_port}" in said
    assert "start PostgreSQL" in said


def test_doctor_tells_each_part_and_ends_with_1_when_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], free_port: int
) -> None:
    monkeypatch.setenv("HAZARDLOOP_DATABASE_URL", f"postgresql://x@127.0.0.1:{free_port}/x")
    monkeypatch.setenv("HAZARDLOOP_MQTT_URL", f"mqtt://127.0.0.1:{free_port}")
    assert cli.main(["doctor"]) == 1
    verdicts = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert list(verdicts) == ["settings", *doctor.CHECKS]
    wrong = {name for name, verdict in verdicts.items() if verdict == "wrong"}
    assert wrong == {"database", "schema", "store", "ledger", "evidence", "broker", "path"}


def test_doctor_is_content_with_a_machine_on_which_up_would_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["doctor"]) == 0
    assert "wrong" not in capsys.readouterr().out


@pytest.mark.parametrize("said", ["nats-server: v2.14.2", "nats-server: v2.9.30", "nonsense"])
def test_doctor_refuses_a_nats_that_lets_gateways_round_their_permissions(said: str) -> None:
    with pytest.raises(ServiceError, match="nats-server"):
        doctor.nats_judged(said)


def test_doctor_takes_the_least_nats_that_is_safe() -> None:
    assert doctor.nats_judged("nats-server: v2.14.3") == "nats-server v2.14.3"


def test_rules_check_names_file_and_line_of_a_mistake(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text("rules:\n  - id: x\n    kind: nonsense\n")
    assert cli.main(["rules", "check", "rules.yaml"]) == 1
    assert capsys.readouterr().out.startswith("rules.yaml:")


def test_rules_check_is_content_with_the_shipped_catalogue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shipped = sorted((Path(cli.__file__).parents[1] / "catalogue").glob("*.yaml"))
    assert shipped
    assert cli.main(["rules", "check", *map(str, shipped)]) == 0


def test_rules_check_of_a_file_that_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "nowhere.yaml" in refusal(capsys, "rules", "check", "nowhere.yaml")


def test_pauses_between_starts_grow_to_a_bound() -> None:
    pauses = [pause_before(failures) for failures in range(1, 20)]
    assert pauses[0] == 0.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
