"""The gateways of a district at work: connected, reporting in turn, and struck by incidents."""

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from hazardloop.devices.wire import Channel, encode_event
from hazardloop.simulators import logbook
from hazardloop.simulators.district import build_district
from hazardloop.simulators.errors import ScenarioUnreadable
from hazardloop.simulators.faults import Weather
from hazardloop.simulators.field import Effect, Site, sites_of
from hazardloop.simulators.incidents import EdgeEvent, Incident, Pace
from hazardloop.simulators.logbook import Counts, TruthRecord
from hazardloop.simulators.reporting import Message, Reporter
from hazardloop.simulators.scenario_file import Scenario
from hazardloop.simulators.scenarios import incidents_of, places_of
from hazardloop.simulators.session import BrokerAddress, Ears, Login, Session

log = logging.getLogger(__name__)

DIALLERS: Final = 4
GRACE_S: Final = 10.0
"""How long the run waits, once somebody is connected, for the gateway of the first incident."""
GOODBYE_S: Final = 2.0
OUT_OF_TURN_S: Final = 0.1
"""Real seconds after a limit is crossed at which the gateway reports, without waiting its turn."""
LATE_REPORTS: Final = 3.0
"""Where messages get lost or overtaken, an alarm may need this many reports instead of one."""
Turn: TypeAlias = tuple[float, int, Callable[[], None]]


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """What a fleet plays, and to whom."""

    scenario: Scenario
    broker: BrokerAddress
    logins: Mapping[str, Login] | None = None
    """`enterprise/gateway` to login; a gateway that is not in it stays away. None = no logins."""
    interval_s: float | None = None
    """Real seconds between two reports of a gateway; None = as the scenario says."""
    for_s: float | None = None
    """Real seconds from the beginning of the run; None = until stopped."""
    out: Path | None = None
    """An existing directory for `counts.json` and `truth.jsonl`."""
    limit: int = 2_000
    """Messages that each gateway keeps until the broker has taken them over."""


class Fleet:
    """One run. Make it inside a running event loop.

    Raises ScenarioUnreadable when there is nobody to connect or no place for an incident.
    """

    def __init__(
        self, options: FleetOptions, on_progress: Callable[[Counts], None] | None = None
    ) -> None:
        scenario = options.scenario
        district = build_district(scenario.seed, scenario.gateways, scenario.points)
        sites = sites_of(district, scenario.seed)
        self._sites = [s for s in sites if options.logins is None or s.key() in options.logins]
        if not self._sites:
            raise ScenarioUnreadable("none of the scenario's gateways has a login")
        self._options = options
        self._on_progress = on_progress
        self._speed = scenario.speed
        self._interval_s = options.interval_s or scenario.real_interval_s()
        self._weather = Weather(scenario.faults, scenario.seed)
        self._reporters = [
            Reporter(site, scenario.seed, self._speed, self._weather) for site in self._sites
        ]
        self._number = {site.key(): index for index, site in enumerate(self._sites)}
        waits = LATE_REPORTS if self._weather.delays_alarms() else 1.0
        pace = Pace(self._speed, self._interval_s * waits)
        usable = self._number.keys() - self._weather.spared()
        places = [place for place in places_of(district, sites) if place.key() in usable]
        self._incidents = incidents_of(scenario, pace, places)
        self._active: list[Incident] = []
        self._turns: list[Turn] = []
        self._order = itertools.count()
        self._epoch_s = self._begun_s = 0.0
        self._sessions: list[Session] = []
        self.truths: list[TruthRecord] = []
        self.counts = Counts(gateways=len(self._sites))

    async def run(self, stop: asyncio.Event) -> Counts:
        """Play until `stop` is set or the time is over, then say goodbye; what has happened."""
        first = next(self._incidents, None)
        opener = self._number[f"{first.enterprise}/{first.gateway}"] if first else 0
        with ThreadPoolExecutor(DIALLERS, "dial") as dialler:
            self._sessions = [self._session(index, dialler) for index in range(len(self._sites))]
            order = sorted(range(len(self._sites)), key=lambda index: index != opener)
            tasks = [asyncio.create_task(self._sessions[index].run()) for index in order]
            tasks.append(asyncio.create_task(self._keep_alive()))
            tasks.append(asyncio.create_task(self._stopped(stop)))
            end = asyncio.create_task(asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED))
            try:
                if await self._admitted(opener, end):
                    self._begin(first)
                    await self._dispatch(end)
            finally:
                await self._goodbye()
                for task in (end, *tasks):
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure
        return self.counts

    @staticmethod
    async def _stopped(stop: asyncio.Event) -> None:
        await stop.wait()

    def _session(self, index: int, dialler: ThreadPoolExecutor) -> Session:
        site, options = self._sites[index], self._options
        login = None if options.logins is None else options.logins[site.key()]
        ears = Ears(partial(self._acknowledged, site.key()), self._dropped, self._rejected)
        address = options.broker
        return Session(site.enterprise, site.gateway, login, address, ears, dialler, options.limit)

    async def _admitted(self, opener: int, end: "asyncio.Task[Any]") -> bool:
        """Whether the run may begin: the opener is in, or others are and the grace is over."""
        begun_s, somebody_s = time.monotonic(), float("inf")
        limit_s = self._options.for_s or float("inf")
        while not end.done() and time.monotonic() - begun_s < limit_s:
            if any(session.connected for session in self._sessions):
                somebody_s = min(somebody_s, time.monotonic())
            if self._sessions[opener].connected or time.monotonic() - somebody_s > GRACE_S:
                return True
            await asyncio.wait([end], timeout=0.05)
        return False

    def _begin(self, first: Incident | None) -> None:
        self._epoch_s, self._begun_s = time.time(), time.monotonic()
        self.counts.epoch = logbook.rfc3339(self._epoch_s)
        for index in range(len(self._sites)):
            due_s = index * self._interval_s / len(self._sites)
            self._at(due_s, partial(self._routine, index, due_s))
            self._at(due_s, partial(self._lifts_normal, index))
        if first is not None:
            self._at(first.start_s / self._speed, partial(self._strike, first))

    def _now(self) -> float:
        return time.monotonic() - self._begun_s

    def _at(self, run_s: float, turn: Callable[[], None]) -> None:
        heapq.heappush(self._turns, (run_s, next(self._order), turn))

    async def _dispatch(self, end: "asyncio.Task[Any]") -> None:
        """Take each turn when it is due, until the end or until the time is over."""
        limit_s = self._options.for_s or float("inf")
        while not end.done() and self._now() < limit_s:
            for _ in range(100):  # then the sessions get their turn, however much is due
                if self._turns[0][0] > self._now():
                    break
                heapq.heappop(self._turns)[2]()
            wait_s = min(self._turns[0][0], limit_s) - self._now()
            await asyncio.wait([end], timeout=max(wait_s, 0.0))

    def _routine(self, index: int, due_s: float) -> None:
        """The regular report of one gateway; the next is due one interval later, or from now on."""
        self._report(index)
        next_s = due_s + self._interval_s
        behind = max(0, int((self._now() - next_s) // self._interval_s))
        self.counts.skipped += behind
        next_s += behind * self._interval_s
        self._at(next_s, partial(self._routine, index, next_s))

    def _report(self, index: int) -> None:
        run_s = self._now()
        session, site = self._sessions[index], self._sites[index]
        if self._weather.offline(site.key(), run_s):
            session.sever()
        else:
            session.mend()
        now_ms = time.time_ns() // 1_000_000
        for message in self._reporters[index].report(run_s, now_ms, self._effects(site, run_s)):
            self._send(index, message)

    def _effects(self, site: Site, run_s: float) -> list[Effect]:
        self._active = [each for each in self._active if each.end_s >= run_s * self._speed]
        here = (site.enterprise, site.gateway)
        struck = [each for each in self._active if (each.enterprise, each.gateway) == here]
        return [effect for incident in struck for effect in incident.effects]

    def _send(self, index: int, message: Message) -> None:
        self.counts.sent(message)
        self._sessions[index].send(message)

    def _strike(self, incident: Incident) -> None:
        """The incident begins: its truths are noted, its reports and events get their turns."""
        self._active.append(incident)
        self.counts.incidents_started += 1
        key = f"{incident.enterprise}/{incident.gateway}"
        for at_s in incident.reports_s:
            due_s = at_s / self._speed + OUT_OF_TURN_S
            self._at(due_s, partial(self._report, self._number[key]))
        for event in incident.events:
            self._at(event.at_s / self._speed, partial(self._tell, self._number[key], event))
        zero_s = self._epoch_s + self._weather.skew_s(key, self._now())
        records = [logbook.truth_record(truth, zero_s) for truth in incident.truths]
        self.truths += records
        if self._options.out is not None:
            logbook.append_truths(self._options.out, records)
        log.info("incident started", extra={"incident": incident.name, "device": incident.device})
        following = next(self._incidents, None)
        if following is not None:
            self._at(following.start_s / self._speed, partial(self._strike, following))

    def _tell(self, index: int, event: EdgeEvent) -> None:
        skew_s = self._weather.skew_s(self._sites[index].key(), self._now())
        ts_ms = round((time.time() + skew_s) * 1000.0)
        payload = encode_event(ts_ms, event.device, event.event, event.body)
        self._send(index, Message(Channel.EVENT, payload))

    def _lifts_normal(self, index: int) -> None:
        """Every lift says once that nothing is wrong, so that its event points have a value."""
        for lift in self._sites[index].lifts:
            self._tell(index, EdgeEvent(0.0, lift, "normal", {}))

    async def _keep_alive(self) -> None:
        for second in itertools.count():
            for session in self._sessions:
                session.tick()
            if second % 2 == 0:
                self._note()
            await asyncio.sleep(1.0)

    async def _goodbye(self) -> None:
        if self.counts.epoch:
            for index, reporter in enumerate(self._reporters):
                for message in reporter.rest():
                    self._send(index, message)
        self._note()
        await asyncio.gather(*(session.close(GOODBYE_S) for session in self._sessions))
        self._note()

    def _note(self) -> None:
        """Bring counts up to date and tell them, also to `counts.json`."""
        self.counts.connected = sum(session.connected for session in self._sessions)
        self.counts.trouble = next((s.trouble for s in self._sessions if s.trouble), "")
        if self._options.out is not None:
            logbook.write_counts(self._options.out, self.counts)
        if self._on_progress is not None:
            self._on_progress(self.counts)

    def _acknowledged(self, gateway: str, message: Message) -> None:
        self.counts.acknowledged(gateway, message)

    def _dropped(self) -> None:
        self.counts.dropped += 1

    def _rejected(self) -> None:
        self.counts.rejected += 1
