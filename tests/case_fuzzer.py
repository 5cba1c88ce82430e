"""People of all roles at the real API, doing whatever comes to mind; an oracle looks on."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from psycopg import AsyncConnection

from hazardloop.alarms.alarm import Action, Tier
from hazardloop.service.app import create_app
from hazardloop.service.settings import Settings
from tests.acceptance.test_case_to_closed import JPEG, PEOPLE, REPORT, Town, client_of, settle
from tests.case_oracle import wrongs
from tests.cases import RAISED_AT, clear_signal, found_district, open_case

REFUSALS: Final = {
    403: {"forbidden"},
    404: {"not_found"},
    409: {"step_refused", "overtaken"},
    422: {"invalid"},
    503: {"unavailable"},
}
"""Every answer but a success, by status."""
CONTENT: Final[dict[str, dict[str, Any]]] = {
    "verify": {"verdict": "real"},
    "submit": REPORT,
    "return": {"note": "缺数据"},
    "comment": {"note": "x"},
    "attach": {"permit": "探头损坏"},
    "tick": {"item": "evacuate"},
    "untick": {"item": "evacuate"},
    "amend": {"verdict": "test"},
}
ONWARD: Final = ("sign", "verify", "handle", "tick", "submit", "close")
ACTIVE: Final = """
    SELECT alarm_id FROM disposal_case JOIN alarm USING (alarm_id)
     WHERE %(case_id)s IN (case_id, lead_case_id) AND cleared_at IS NULL"""
LEDGER: Final = "SELECT count(*), max(entry_id) FROM ledger WHERE case_id IS NOT NULL"

who = st.sampled_from(sorted(PEOPLE))
where = st.integers(0, 4)


class Disposal:
    """One service with its people, for all examples of a run."""

    def __init__(self, conninfo: str, home: Path) -> None:
        self.conninfo = conninfo
        self.home = home
        self.steps: dict[str, int] = {}
        """How often each action was taken, and refused."""

    async def open(self, stack: AsyncExitStack) -> None:
        """The running service."""
        owner = await stack.enter_async_context(
            await AsyncConnection.connect(self.conninfo, autocommit=True)
        )
        self.owner: AsyncConnection[Any] = owner
        self.town = Town(owner, self.home)
        await settle(owner, await found_district(owner))
        await owner.execute("UPDATE case_policy SET rest = '5 minutes'")
        settings = Settings(home=self.home, database_url=self.conninfo)
        app = create_app(settings, clock=lambda: self.town.now)
        await stack.enter_async_context(app.router.lifespan_context(app))
        for name in PEOPLE:
            client = client_of(app, name)
            self.town.clients[name] = await stack.enter_async_context(client)

    async def new_cases(self) -> list[UUID]:
        """Three cases of one enterprise near in time, a smoke alarm with a plan, a stranger's."""
        self.town.now = RAISED_AT + timedelta(minutes=1)
        await self.stay_logged_in()
        near = [await open_case(self.owner, tier=tier) for tier in (Tier.YELLOW, Tier.RED)]
        smoke = await open_case(self.owner, kind="smoke_detector", tier=Tier.ORANGE)
        again = await open_case(self.owner, tier=Tier.YELLOW)
        return [*near, again, smoke, await open_case(self.owner, enterprise="E2")]

    async def stay_logged_in(self) -> None:
        """Nobody's session ends, however long they sit idle."""
        now = self.town.now
        await self.owner.execute(
            "UPDATE user_session SET last_used_at = %s, expires_at = %s",
            [now, now + timedelta(hours=12)],
        )

    async def clear(self, case_id: UUID) -> None:
        """The signals of the case and of its members return to normal, if they are active."""
        rows = await (await self.owner.execute(ACTIVE, {"case_id": case_id})).fetchall()
        await clear_signal(self.owner, [alarm_id for (alarm_id,) in rows], self.town.now)

    async def lines(self) -> Any:
        """How much the ledger tells of cases."""
        return await (await self.owner.execute(LEDGER)).fetchone()

    def count(self, action: str, answer: httpx.Response) -> None:
        """Notes the answer, which must be a success or a refusal that says what it is."""
        key = f"{action} {'taken' if answer.is_success else 'refused'}"
        self.steps[key] = self.steps.get(key, 0) + 1
        if not answer.is_success:
            told = answer.json()
            assert told["code"] in REFUSALS[answer.status_code], answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            if told["code"] in ("step_refused", "overtaken"):
                assert "allowed_actions" in told, answer.text


def machine(runner: asyncio.Runner, disposal: Disposal) -> type[RuleBasedStateMachine]:
    """The rules of the run."""

    class Handling(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.cases = runner.run(disposal.new_cases())

        @rule(name=who, at=where, action=st.sampled_from(Action), stale=st.sampled_from([0, 0, 1]))
        def somebody_steps(self, name: str, at: int, action: Action, stale: int) -> None:
            runner.run(self._alone(name, self.cases[at], action, stale))

        @rule(at=where, names=st.permutations(sorted(PEOPLE)), times=st.integers(1, 8))
        def people_carry_on(self, at: int, names: list[str], times: int) -> None:
            for _ in range(times):
                runner.run(self._onward(self.cases[at], names))

        @rule(at=where, first=who, second=who, action=st.sampled_from([*ONWARD, "amend"]))
        def two_step_at_once(self, at: int, first: str, second: str, action: str) -> None:
            runner.run(self._both(self.cases[at], first, second, action))

        @rule(at=where, other=where, name=who, bond=st.sampled_from(["merge", "split"]))
        def somebody_binds(self, at: int, other: int, name: str, bond: str) -> None:
            runner.run(self._bind(self.cases[at], self.cases[other], name, bond))

        @rule(at=where, name=who)
        def somebody_photographs(self, at: int, name: str) -> None:
            async def attach() -> None:
                disposal.count("photo", await disposal.town.attach(name, self.cases[at], JPEG))

            runner.run(attach())

        @rule(at=where)
        def the_signal_clears(self, at: int) -> None:
            runner.run(disposal.clear(self.cases[at]))

        @rule(minutes=st.sampled_from([1, 6, 20]))
        def time_passes(self, minutes: int) -> None:
            disposal.town.now += timedelta(minutes=minutes)
            runner.run(disposal.stay_logged_in())

        def teardown(self) -> None:
            assert runner.run(wrongs(disposal.owner)) == {}

        async def _seen(self, case_id: UUID, what: str = "revision") -> dict[str, Any]:
            row = await disposal.owner.execute(
                f"SELECT {what} FROM disposal_case WHERE case_id = %s", [case_id]
            )
            return {what: (await row.fetchone() or (None,))[0]}

        async def _post(self, name: str, path: str, body: dict[str, Any]) -> httpx.Response:
            return await disposal.town.clients[name].post(path, json=body)

        async def _alone(self, name: str, case_id: UUID, action: str, stale: int) -> None:
            before = await disposal.lines()
            revision = max(1, (await self._seen(case_id))["revision"] - stale)
            body = {"action": action, "revision": revision, **CONTENT.get(action, {})}
            answer = await self._post(name, f"/cases/{case_id}/steps", body)
            disposal.count(action, answer)
            if not answer.is_success:
                assert await disposal.lines() == before, "refused, and yet something was done"

        async def _onward(self, case_id: UUID, names: list[str]) -> None:
            """The first of these people who can carry the case on does so, with what it takes."""
            stage = (await self._seen(case_id, "stage"))["stage"]
            if stage == "handling":
                await disposal.town.attach("zhang", case_id, JPEG)
            if stage == "submitted":
                await disposal.clear(case_id)
            for name in names:
                told = await disposal.town.clients[name].get(f"/cases/{case_id}")
                allowed = told.json().get("allowed_actions", ())
                for action in ONWARD:
                    if action in allowed:
                        await self._alone(name, case_id, action, 0)
                        return

        async def _both(self, case_id: UUID, first: str, second: str, action: str) -> None:
            body = {"action": action, **await self._seen(case_id), **CONTENT.get(action, {})}
            answers = await asyncio.gather(
                *(self._post(name, f"/cases/{case_id}/steps", body) for name in (first, second))
            )
            for answer in answers:
                disposal.count(f"both {action}", answer)
            assert sum(answer.is_success for answer in answers) < 2, "two steps on one revision"

        async def _bind(self, lead: UUID, member: UUID, name: str, bond: str) -> None:
            body: dict[str, Any] = {**await self._seen(lead), "members": [str(member)]}
            if bond == "merge":
                body["members"] = [{"id": str(member), **await self._seen(member)}]
            before = await disposal.lines()
            answer = await self._post(name, f"/cases/{lead}/{bond}", body)
            disposal.count(bond, answer)
            if not answer.is_success:
                assert await disposal.lines() == before

    return Handling


def fuzz(conninfo: str, home: Path, examples: int, steps: int, seed: int | None) -> dict[str, Any]:
    """What was done in so many runs of so many steps; AssertionError: an illegal way was found."""
    disposal = Disposal(conninfo, home)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        runner.run(disposal.open(stack))
        try:
            kind = machine(runner, disposal)
            if seed is not None:
                kind = hypothesis.seed(seed)(kind)
            run_state_machine_as_test(
                kind,
                settings=hypothesis.settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    database=None,
                    derandomize=seed is None,
                    suppress_health_check=list(hypothesis.HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())
    return dict(sorted(disposal.steps.items()))
