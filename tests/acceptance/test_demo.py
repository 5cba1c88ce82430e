"""`hazardloop demo` and `up` as a person starts them: real servers, processes and signals."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest

from tests.brokers import free_port

PATIENCE_S = 120.0
STAGES = ("worker", "api", "clerk", "broker", "database")


class Run:
    """One command with everything below it."""

    def __init__(self, command: str, home: Path, *words: str) -> None:
        self.home = home
        self.port = free_port()
        self.output = home.parent / f"{command}-{secrets.token_hex(4)}.txt"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HAZARDLOOP_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hazardloop", command, "--home", str(home),
                 "--port", str(self.port), "--mqtt-port", str(free_port()), *words],
                stdout=output, stderr=subprocess.STDOUT, cwd=home.parent, env=environment,
            )  # fmt: skip

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        until(lambda: words in self.said(), self)

    def demo(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.home / "demo.json").read_text())
        return found

    @contextlib.contextmanager
    def client(self, username: str, password: str) -> Iterator[httpx.Client]:
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", timeout=30) as client:
            login = {"username": username, "password": password}
            answer = client.post("/auth/login", json=login).raise_for_status()
            client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
            yield client

    def descendants(self) -> set[int]:
        found, fresh = set[int](), {self.process.pid}
        while fresh:
            found |= fresh
            children = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", ",".join(map(str, fresh))],
                capture_output=True, text=True,
            ).stdout  # fmt: skip
            fresh = set(map(int, children.split())) - found
        return found - {self.process.pid}

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def until(true: Callable[[], object], run: Run) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert run.process.poll() is None, run.said()
        assert time.monotonic() < end, f"waited in vain\n{run.said()}"
        time.sleep(0.1)


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def publish(demo: dict[str, Any], values: dict[str, object]) -> None:
    """As the gateway of `try` does."""

    async def send() -> None:
        own = demo["try"]
        async with aiomqtt.Client(
            "127.0.0.1",
            int(demo["mqtt_url"].rpartition(":")[2]),
            username=own["username"],
            password=own["password"],
            identifier=f"test-{secrets.token_hex(8)}",
            protocol=aiomqtt.ProtocolVersion.V311,
        ) as gateway:
            payload = json.dumps({"ts": time.time_ns() // 1_000_000, "values": values})
            topic = f"hl/v1/{own['enterprise']}/{own['gateway']}/telemetry"
            await gateway.publish(topic, payload, qos=1)

    asyncio.run(send())


@pytest.fixture(scope="module")
def module_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "home"


@pytest.fixture(scope="module")
def demo(module_home: Path) -> Iterator[Run]:
    run = Run("demo", module_home, "--seed", "7")
    try:
        run.wait_for("Ctrl-C stops everything")
        yield run
    finally:
        run.end()


def test_demo_json_names_everything_that_the_contract_promises(demo: Run) -> None:
    told = demo.demo()
    assert told.keys() == {"url", "mqtt_url", "users", "try", "processes"}
    assert told["url"] == f"http://127.0.0.1:{demo.port}"
    assert told["try"].keys() == {"enterprise", "gateway", "username", "password"}
    assert tuple(told["processes"]) == STAGES
    pids = {pid for pids in told["processes"].values() for pid in pids}
    assert len(pids) == len(STAGES)
    assert pids <= demo.descendants()


def test_every_role_of_the_demo_may_log_in(demo: Run) -> None:
    for role, login in demo.demo()["users"].items():
        with demo.client(**login) as client:
            me = client.get("/me").raise_for_status().json()
        assert me["role"] == role
        if role == "enterprise":
            assert me["enterprise"]["code"] == demo.demo()["try"]["enterprise"]


def test_the_district_has_the_promised_size(demo: Run) -> None:
    with demo.client(**demo.demo()["users"]["admin"]) as client:
        gateways = client.get("/gateways", params={"limit": 1000}).json()["items"]
        devices = client.get("/devices", params={"limit": 1000}).json()["items"]
    assert len(gateways) >= 50
    assert sum(len(device["points"]) for device in devices) >= 1000
    kinds = {"gas_detector", "tank", "elevator", "smoke_detector"}
    assert {device["kind"] for device in devices} == kinds


def test_the_fleet_reports_and_a_gateway_of_ones_own_raises_an_alarm(demo: Run) -> None:
    publish(demo.demo(), {"GD-TRY.lel": 60})
    with demo.client(**demo.demo()["users"]["operator"]) as client:
        until(lambda: tiers_of(client, "GD-TRY.lel") == ["orange"], demo)
        until(lambda: client.get("/readings/latest", params={"device": "GD-0101"}), demo)
        until(lambda: online(client) >= 50, demo)


def test_a_killed_worker_comes_back_and_nothing_is_lost_or_doubled(demo: Run) -> None:
    (before,) = demo.demo()["processes"]["worker"]
    os.kill(before, signal.SIGKILL)
    publish(demo.demo(), {"SD-TRY.smoke": True})
    until(lambda: demo.demo()["processes"]["worker"] not in ([], [before]), demo)
    with demo.client(**demo.demo()["users"]["operator"]) as client:
        until(lambda: tiers_of(client, "SD-TRY.smoke") == ["red"], demo)
        assert tiers_of(client, "GD-TRY.lel") == ["orange"]


def test_a_second_run_on_the_same_home_is_refused(demo: Run) -> None:
    second = Run("demo", demo.home)
    assert second.process.wait(PATIENCE_S) == 1
    assert str(demo.process.pid) in second.said()
    assert "Traceback" not in second.said()
    assert demo.demo()["processes"]["worker"]


def test_ctrl_c_leaves_no_process_behind_and_the_next_start_goes_on(
    demo: Run, module_home: Path
) -> None:
    logins, pids = demo.demo()["users"], demo.descendants()
    assert len(pids) > len(STAGES)
    assert demo.interrupt() == 0
    assert alive(pids) == set()
    assert not (module_home / "demo.json").exists()

    again = Run("demo", module_home, "--for", "3")
    try:
        again.wait_for("Ctrl-C stops everything")
        assert again.demo()["users"] == logins
        with again.client(**logins["operator"]) as client:
            assert tiers_of(client, "SD-TRY.smoke") == ["red"]
        assert again.process.wait(PATIENCE_S) == 0
    finally:
        again.end()
    summary = re.search(r"alarms (\d+) \(red (\d+), orange (\d+),", again.said())
    assert summary, again.said()
    assert int(summary[2]) >= 1
    assert "handling rate" in again.said()


def test_up_makes_an_administrator_once_and_survives_being_killed(tmp_path: Path) -> None:
    first = Run("up", tmp_path / "home")
    try:
        first.wait_for("Ctrl-C stops everything")
        shown = re.search(r"admin / (\S+)", first.said())
        assert shown, first.said()
        with first.client("admin", shown[1]) as client:
            assert client.get("/enterprises").json()["items"] == []
        pids = first.descendants()
    finally:
        first.end()  # kill -9
    until_gone(pids)
    second = Run("up", tmp_path / "home")
    try:
        second.wait_for("Ctrl-C stops everything")
        assert "admin / " not in second.said()
        with second.client("admin", shown[1]) as client:
            assert client.get("/me").json()["role"] == "admin"
        assert second.interrupt() == 0
    finally:
        second.end()


def until_gone(pids: set[int]) -> None:
    end = time.monotonic() + PATIENCE_S
    while running := {pid for pid in alive(pids) if not zombie(pid)}:
        assert time.monotonic() < end, running
        time.sleep(0.1)


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone, or gone while we read
        return True


def tiers_of(client: httpx.Client, point: str) -> list[str]:
    """Tiers of all alarms that the point ever raised."""
    answer = client.get("/alarms", params={"point": point}).raise_for_status()
    return [alarm["tier"] for alarm in answer.json()["items"]]


def online(client: httpx.Client) -> int:
    gateways = client.get("/gateways", params={"limit": 1000}).json()["items"]
    return sum(gateway["online"] for gateway in gateways)
