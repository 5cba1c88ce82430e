"""Runs of simulated fleets that a tester starts: a process each, a folder each, one at a time.

A run's folder holds `run.json` (who, what, when), and what the fleet writes: `counts.json` and
`truth.jsonl`. The demo's own fleet is a run, too, that nobody here started.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hazardloop import __version__
from hazardloop.service.errors import ServiceError
from hazardloop.service.settings import PREFIX, Settings
from hazardloop.simulators.logbook import TruthRecord

DEMO: Final = "demo"
RUN_FORM: Final = re.compile(r"^(demo|\d{8}T\d{6}Z)$")
MOST_LINES: Final = 500
"""Of what a run had to raise that are looked at; the newest."""
LONGEST_S: Final = 8 * 3600.0


class SimulationRefused(ServiceError):
    """A run is not started like this."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as its folder tells."""

    id: str
    scenario: str
    started_at: str | None
    ended_at: str | None
    started_by: str
    build: str
    going_on: bool
    counts: Mapping[str, Any]


def plays() -> dict[str, str]:
    """The scenarios that come with the service: id and text."""
    folder = resources.files("hazardloop.simulators") / "plays"
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=str)
    return {one.name.removesuffix(".yaml"): one.read_text(encoding="utf-8") for one in files}


def enabled(settings: Settings) -> bool:
    """Whether fleets may be started here."""
    return settings.simulation_logins is not None


@dataclass(slots=True)
class Runs:
    """The runs of one api process and those that it finds."""

    settings: Settings
    _child: asyncio.subprocess.Process | None = None
    _watching: asyncio.Task[None] | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def _folder(self) -> Path:
        return self.settings.home / "simulations"

    def _of(self, run_id: str) -> Path:
        return self.settings.home / "simulate" if run_id == DEMO else self._folder / run_id

    def all(self) -> list[Run]:
        """Newest first."""
        found = [one.name for one in self._folder.glob("*Z")] if self._folder.is_dir() else []
        runs = [self.one(name) for name in [*sorted(found, reverse=True), DEMO]]
        return [run for run in runs if run is not None]

    def one(self, run_id: str) -> Run | None:
        """The run of that id, if there is one."""
        folder = self._of(run_id)
        if not RUN_FORM.match(run_id) or not folder.is_dir():
            return None
        said, counts = _read(folder / "run.json"), _read(folder / "counts.json")
        begun = said.get("started_at") or counts.get("epoch")
        if run_id == DEMO and begun is None:
            return None
        pid = said.get("pid")
        going_on = said.get("ended_at") is None and (
            _alive(int(pid)) if pid else run_id == DEMO and bool(counts.get("connected"))
        )
        return Run(
            run_id,
            said.get("scenario", "district"),
            begun,
            said.get("ended_at"),
            said.get("by", ""),
            said.get("build", __version__),
            going_on,
            counts,
        )

    def truths(self, run_id: str) -> list[TruthRecord]:
        """The newest of what the run had to raise, oldest first."""
        file = self._of(run_id) / "truth.jsonl"
        if not file.is_file():
            return []
        lines = file.read_text(encoding="utf-8").splitlines()[-MOST_LINES:]
        return [json.loads(line) for line in lines if line.endswith("}")]

    async def start(self, scenario: str, seconds: float, speed: float, seed: int, by: str) -> Run:
        """A new run. SimulationRefused: not enabled, not known, or another one goes on."""
        if not enabled(self.settings):
            raise SimulationRefused("no fleet may be started here: HAZARDLOOP_SIMULATION_LOGINS")
        text = plays().get(scenario)
        if text is None:
            raise SimulationRefused(f"no scenario {scenario!r}; known are {', '.join(plays())}")
        async with self._starting:
            if any(run.going_on for run in await asyncio.to_thread(self.all) if run.id != DEMO):
                raise SimulationRefused("a run goes on: stop it first")
            now = datetime.now(UTC)
            run_id = f"{now:%Y%m%dT%H%M%SZ}"
            folder = self._of(run_id)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "scenario.yaml").write_text(text, encoding="utf-8")
            self._child = await self._spawned(folder, seconds, speed, seed)
            said = {
                "scenario": scenario,
                "by": by,
                "build": __version__,
                "started_at": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "pid": self._child.pid,
            }
            _write(folder / "run.json", said)
            self._watching = asyncio.create_task(self._watch(folder, self._child, said))
        run = self.one(run_id)
        assert run is not None  # made above
        return run

    async def _spawned(
        self, folder: Path, seconds: float, speed: float, seed: int
    ) -> asyncio.subprocess.Process:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        words = [
            "simulate", "--scenario", str(folder / "scenario.yaml"), "--out", str(folder),
            "--for", f"{seconds:g}", "--speed", f"{speed:g}", "--seed", str(seed),
            "--mqtt-url", self.settings.mqtt_url,
            "--credentials", str(self.settings.simulation_logins),
        ]  # fmt: skip
        with (folder / "fleet.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "hazardloop", *words,
                stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL, env=kept,
            )  # fmt: skip

    async def _watch(
        self, folder: Path, child: asyncio.subprocess.Process, said: dict[str, Any]
    ) -> None:
        code = await child.wait()
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        _write(folder / "run.json", said | {"ended_at": now, "exit": code})

    def stop(self, run_id: str) -> Run | None:
        """Asks the run to end, which it does by itself; None: there is none such."""
        run = self.one(run_id)
        pid = _read(self._of(run_id) / "run.json").get("pid") if run else None
        if run is not None and run.going_on and pid:
            os.kill(int(pid), signal.SIGTERM)
        return run

    async def close(self) -> None:
        """Ends what this process started."""
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
        if self._watching is not None:
            await asyncio.gather(self._watching, return_exceptions=True)


def _read(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _write(file: Path, said: Mapping[str, Any]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(said), encoding="utf-8")
    fresh.replace(file)


def _alive(pid: int) -> bool:
    """Whether that process is a fleet that runs, and not a later one of the same number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return b"simulate" in words and state != "Z"
