"""A red alarm is walked to closed by two people over the API, and the handling rate says so."""

import hashlib
from collections.abc import AsyncIterator, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg import AsyncConnection

from hazardloop.alarms.alarm import Role, Tier
from hazardloop.service.app import create_app
from hazardloop.service.passwords import hash_password
from hazardloop.service.settings import Settings
from tests.cases import RAISED_AT, clear_signal, found_district, open_case, raise_alarms
from tests.files import jpeg

BASE_URL: Final = "http://testserver/api/v1"
PASSWORD: Final = "a good long password"
PASSWORD_HASH: Final = hash_password(PASSWORD)
PEOPLE: Final = {
    "zhang": (Role.ENTERPRISE, "E1"),
    "qian": (Role.ENTERPRISE, "E2"),
    "li": (Role.AUTHORITY, None),
    "wang": (Role.SUPERVISOR, None),
    "zhao": (Role.OPERATOR, None),
    "sun": (Role.AUDITOR, None),
    "zhou": (Role.TESTER, None),
    "wu": (Role.ADMIN, None),
}
JPEG: Final = jpeg()
REPORT: Final = {
    "cause": "法兰垫片老化",
    "measures": "更换垫片并复测",
    "responsible": "张三",
    "funds": "2000 元",
    "deadline": "2026-12-01",
    "plan": "全罐区同批垫片一周内更换",
}


class Town:
    """The service with its people, at a time that the test sets."""

    def __init__(self, owner: AsyncConnection[Any], home: Path) -> None:
        self.owner = owner
        self.home = home
        self.now = RAISED_AT + timedelta(minutes=1)
        self.clients: dict[str, httpx.AsyncClient] = {}

    async def take(self, who: str, case_id: UUID, action: str, **content: Any) -> httpx.Response:
        """One step on the revision as it is, unless `revision` is given."""
        if "revision" not in content:
            seen = await self.clients["wang"].get(f"/cases/{case_id}")
            content["revision"] = seen.json()["revision"]
        return await self.clients[who].post(
            f"/cases/{case_id}/steps", json={"action": action, **content}
        )

    async def attach(
        self, who: str, case_id: UUID, content: bytes = JPEG, name: str = "阀门.jpg", **fields: str
    ) -> httpx.Response:
        return await self.clients[who].post(
            f"/cases/{case_id}/evidence", files={"file": (name, content, "text/html")}, data=fields
        )

    async def bring_to(self, case_id: UUID, stage: str) -> None:
        """Walks the case along the straight path to `stage`."""
        await self.take("zhang", case_id, "sign")
        done = await self.take("li", case_id, "sign")
        for who, action, content in (
            ("zhang", "verify", {"verdict": "real"}),
            ("zhang", "handle", {}),
            ("zhang", "submit", REPORT),
        ):
            if done.json()["stage"] == stage:
                return
            if action == "submit":
                await self.attach(who, case_id)
            done = await self.take(who, case_id, action, **content)
        assert done.json()["stage"] == stage, done.text

    async def case_of(self, **alarm: Any) -> UUID:
        return await open_case(self.owner, **{"tier": Tier.RED} | alarm)

    async def clear(self, case_id: UUID) -> None:
        await clear_signal(self.owner, [await self.alarm_of(case_id)], self.now)

    async def alarm_of(self, case_id: UUID) -> UUID:
        return UUID((await self.clients["wang"].get(f"/cases/{case_id}")).json()["alarm_id"])


@pytest.fixture
async def town(database: str, home: Path) -> AsyncIterator[Town]:
    async with await AsyncConnection.connect(database, autocommit=True) as owner:
        town = Town(owner, home)
        await settle(owner, await found_district(owner))
        app = create_app(Settings(home=home, database_url=database), clock=lambda: town.now)
        async with app.router.lifespan_context(app):
            town.clients = {username: client_of(app, username) for username in PEOPLE}
            yield town
            for client in town.clients.values():
                await client.aclose()


async def settle(owner: AsyncConnection[Any], enterprises: dict[str, int]) -> None:
    for username, (role, enterprise) in PEOPLE.items():
        await owner.execute(
            "INSERT INTO user_account (username, display_name, role, enterprise_id, password_hash)"
            " VALUES (%s, %s, %s, %s, %s)",
            [username, username, role, enterprise and enterprises[enterprise], PASSWORD_HASH],
        )


class LogIn(httpx.Auth):
    """Logs in before the first request, and shows the token with each."""

    requires_response_body = True

    def __init__(self, username: str) -> None:
        self.username = username
        self.token = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not self.token:
            known = {"username": self.username, "password": PASSWORD}
            answer = yield httpx.Request("POST", f"{BASE_URL}/auth/login", json=known)
            self.token = answer.json()["token"]
        request.headers["Authorization"] = f"Bearer {self.token}"
        yield request


def client_of(app: Any, username: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL, auth=LogIn(username))


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal, which is the one expected."""
    told: dict[str, Any] = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return told


async def test_a_red_alarm_is_closed_by_two_people_and_the_rate_says_all(town: Town) -> None:
    case_id = await town.case_of()
    first = (await town.clients["zhang"].get(f"/cases/{case_id}")).json()
    assert (first["stage"], first["revision"], first["tier"]) == ("dispatched", 2, "red")
    assert first["due"] == {"stage": "sign", "at": "2026-11-22T01:05:00.000Z", "overdue": False}
    assert first["allowed_actions"] == ["sign", "comment", "attach"]
    assert [one["assigned_to"] for one in first["assignments"]] == ["示范化工", "城东监管所"]
    assert first["alarm"]["name"] == {"zh": "可燃气体高报", "en": "Gas high"}
    assert await rate(town) == (1, 0, 0.0)

    for who, stage in (("zhang", "dispatched"), ("li", "signed")):
        signed = await town.take(who, case_id, "sign")
        assert (signed.status_code, signed.json()["stage"]) == (201, stage)
    await town.take("zhang", case_id, "verify", verdict="real", note="现场闻到异味")
    await town.take("zhang", case_id, "handle")
    kept = await town.attach("zhang", case_id, caption="更换后的垫片")
    assert kept.status_code == 201
    town.now += timedelta(minutes=20)
    submitted = await town.take("zhang", case_id, "submit", **REPORT)
    assert submitted.json()["stage"] == "submitted"
    assert (submitted.json()["handlers"], submitted.json()["deadline"]) == (["zhang"], "2026-12-01")
    await town.clear(case_id)
    closed = await town.take("li", case_id, "close", note="照片与复测数据齐全")

    told = closed.json()
    assert (closed.status_code, told["stage"], told["closed_by"]) == (201, "closed", "li")
    assert (told["verdict"], told["due"], told["allowed_actions"]) == (
        "real",
        None,
        ["reopen", "comment", "attach"],
    )
    assert [step["action"] for step in told["steps"]] == [
        "raise",
        "dispatch",
        "sign",
        "sign",
        "verify",
        "handle",
        "attach",
        "submit",
        "close",
    ]
    assert [step["revision"] for step in told["steps"]] == list(range(1, 10))
    assert [(one["stage"], one["overdue"]) for one in told["deadlines"]] == [
        ("sign", False),
        ("verify", False),
        ("submit", False),
        ("review", False),
    ]
    assert told["evidence"][0]["file_name"] == "阀门.jpg"
    assert told["steps"][6]["note"] == "更换后的垫片"
    assert await rate(town) == (1, 1, 1.0)


async def rate(town: Town) -> tuple[int, int, float | None]:
    """Raised, closed and handling rate of the last days."""
    told = (await town.clients["sun"].get("/kpi/handling")).json()
    return told["raised"], told["closed"], told["rate"]


async def test_a_step_out_of_order_is_refused_and_names_what_is_possible(town: Town) -> None:
    case_id = await town.case_of()
    for who, action, content in (
        ("zhang", "verify", {"verdict": "real"}),
        ("zhang", "handle", {}),
        ("zhang", "submit", REPORT),
        ("li", "close", {}),
        ("li", "return", {"note": "x"}),
        ("li", "reopen", {}),
        ("zhao", "dispatch", {}),
    ):
        told = problem(await town.take(who, case_id, action, **content), 409, "step_refused")
        assert (told["stage"], told["revision"]) == ("dispatched", 2)
        assert "from here only sign, comment, attach, escalate" in told["detail"]


async def test_a_stale_revision_is_told_the_present_one(town: Town) -> None:
    case_id = await town.case_of()
    await town.take("zhang", case_id, "sign", revision=2)
    told = problem(await town.take("li", case_id, "sign", revision=2), 409, "overtaken")
    assert told["revision"] == 3
    assert (await town.take("li", case_id, "sign", revision=3)).status_code == 201


async def test_the_person_who_handled_it_neither_closes_nor_returns(town: Town) -> None:
    case_id = await town.case_of(tier=Tier.YELLOW)
    await town.clear(case_id)
    await town.bring_to(case_id, "verified")
    await town.take("wang", case_id, "handle")
    await town.take("zhang", case_id, "submit", cause="x", measures="y")
    for action in ("close", "return"):
        told = problem(await town.take("wang", case_id, action, note="n"), 409, "step_refused")
        assert "another person reviews it" in told["detail"]
    problem(await town.take("zhang", case_id, "close"), 403, "forbidden")
    assert (await town.take("li", case_id, "close")).status_code == 201


async def test_a_report_that_lacks_something_is_refused_with_the_fields_named(town: Town) -> None:
    case_id = await town.case_of()
    await town.bring_to(case_id, "handling")
    bare = await town.take("zhang", case_id, "submit", cause="x", measures=" ")
    assert problem(bare, 409, "step_refused")["missing"] == [
        "measures",
        "responsible",
        "funds",
        "deadline",
        "plan",
    ]
    told = problem(await town.take("zhang", case_id, "submit", **REPORT), 409, "step_refused")
    assert "needs evidence" in told["detail"]


async def test_an_active_signal_needs_a_supervisor_s_permit(town: Town) -> None:
    case_id = await town.case_of()
    await town.bring_to(case_id, "submitted")
    told = problem(await town.take("li", case_id, "close"), 409, "step_refused")
    assert "still active" in told["detail"]
    problem(await town.take("li", case_id, "attach", permit="探头坏"), 403, "forbidden")
    granted = (await town.take("wang", case_id, "attach", permit="探头坏")).json()
    assert granted["bypass_permit"]["granted_by"] == "wang"
    assert (await town.take("li", case_id, "close")).json()["stage"] == "closed"


async def test_a_returned_and_a_reopened_case_go_back_to_handling(town: Town) -> None:
    case_id = await town.case_of(tier=Tier.YELLOW)
    await town.clear(case_id)
    await town.bring_to(case_id, "submitted")
    assert (
        "note" in problem(await town.take("li", case_id, "return"), 409, "step_refused")["missing"]
    )
    assert (await town.take("li", case_id, "return", note="缺数据")).json()["returned"] == 1
    await town.take("zhang", case_id, "submit", cause="x", measures="y")
    await town.take("wang", case_id, "close")
    assert await rate(town) == (1, 1, 1.0)
    again = (await town.take("li", case_id, "reopen", note="再次泄漏")).json()
    assert (again["stage"], again["reopened"], again["closed_by"]) == ("handling", 1, None)
    assert await rate(town) == (1, 0, 0.0)


async def test_auditor_tester_and_administrator_look_but_take_no_step(town: Town) -> None:
    case_id = await town.case_of()
    for who in ("sun", "zhou", "wu"):
        seen = await town.clients[who].get(f"/cases/{case_id}")
        assert (seen.status_code, seen.json()["allowed_actions"]) == (200, [])
        problem(await town.take(who, case_id, "comment", note="x"), 403, "forbidden")
        problem(await town.attach(who, case_id), 403, "forbidden")


async def test_another_enterprise_s_case_does_not_exist(town: Town) -> None:
    case_id = await town.case_of()
    kept = (await town.attach("zhang", case_id)).json()
    qian = town.clients["qian"]
    problem(await qian.get(f"/cases/{case_id}"), 404, "not_found")
    problem(await town.take("qian", case_id, "sign"), 404, "not_found")
    problem(await town.attach("qian", case_id), 404, "not_found")
    problem(await qian.get(f"/evidence/{kept['id']}"), 404, "not_found")
    assert (await qian.get("/cases")).json()["items"] == []
    assert (await qian.get("/kpi/handling")).json()["raised"] == 0


async def test_without_login_nothing_is_shown(town: Town) -> None:
    case_id = await town.case_of()
    town.clients["qian"].auth = httpx.Auth()
    for path in ("/cases", f"/cases/{case_id}", f"/evidence/{uuid4()}", "/kpi/handling"):
        problem(await town.clients["qian"].get(path), 401, "unauthenticated")
    problem(await town.attach("qian", case_id), 401, "unauthenticated")


async def test_evidence_comes_back_as_it_was_sent_and_is_never_run(town: Town) -> None:
    case_id = await town.case_of()
    kept = (await town.attach("zhang", case_id, name="../现场.jpg")).json()
    assert (kept["file_name"], kept["media_type"]) == ("现场.jpg", "image/jpeg")
    assert kept["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert kept["revision"] == 3
    got = await town.clients["li"].get(f"/evidence/{kept['id']}")
    assert (got.status_code, got.content) == (200, JPEG)
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["content-disposition"].startswith("attachment; filename*=")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]


async def test_a_file_that_is_gone_from_the_disk_is_said_to_be(town: Town) -> None:
    kept = (await town.attach("zhang", await town.case_of())).json()
    for path in (town.home / "evidence").rglob(kept["sha256"]):
        path.unlink()
    problem(await town.clients["li"].get(f"/evidence/{kept['id']}"), 500, "damaged")


async def test_a_file_that_is_refused_leaves_no_trace(
    town: Town, subtests: pytest.Subtests
) -> None:
    case_id = await town.case_of()
    for what, content, status, code in (
        ("a script", b"<svg onload=alert(1)>", 415, "unsupported_media_type"),
        ("an empty file", b"", 415, "unsupported_media_type"),
        ("21 MiB", JPEG + bytes(21 << 20), 413, "too_large"),
    ):
        with subtests.test(what):
            problem(await town.attach("zhang", case_id, content), status, code)
    seen = (await town.clients["zhang"].get(f"/cases/{case_id}")).json()
    assert (seen["revision"], seen["evidence"]) == (2, [])
    assert [path for path in town.home.rglob("*") if path.is_file()] == []


async def test_an_upload_that_never_ends_is_cut_off(town: Town) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n' + JPEG
        while True:
            sent += 1 << 20
            yield bytes(1 << 20)

    answer = await town.clients["zhang"].post(
        f"/cases/{await town.case_of()}/evidence",
        content=endless(),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    problem(answer, 413, "too_large")
    assert sent <= 22 << 20


async def test_what_is_no_upload_is_refused(town: Town, subtests: pytest.Subtests) -> None:
    case_id = await town.case_of()
    form = "multipart/form-data"
    bodies: dict[str, tuple[dict[str, Any], int, str]] = {
        "json": ({"json": {"file": "x"}}, 415, "unsupported_media_type"),
        "another field": ({"data": {"caption": "x"}, "files": {"f": b"x"}}, 422, "invalid"),
        "a long caption": (
            {"files": {"file": JPEG}, "data": {"caption": "x" * 2001}},
            422,
            "invalid",
        ),
        "two files": ({"files": [("file", JPEG), ("file", JPEG)]}, 400, "bad_request"),
        "a broken body": (
            {"content": b"x", "headers": {"Content-Type": f"{form}; boundary=b"}},
            400,
            "bad_request",
        ),
        "no boundary": ({"content": b"x", "headers": {"Content-Type": form}}, 400, "bad_request"),
    }
    for what, (body, status, code) in bodies.items():
        with subtests.test(what):
            answer = await town.clients["zhang"].post(f"/cases/{case_id}/evidence", **body)
            problem(answer, status, code)


NO_STEPS: Final[tuple[Any, ...]] = (
    {"action": "sign"},
    {"action": "sign", "revision": 0},
    {"action": "sign", "revision": 2**31},
    {"action": "burn", "revision": 2},
    {"action": "verify", "revision": 2, "verdict": "perhaps"},
    {"action": "sign", "revision": 2, "verdict": "real"},
    {"action": "sign", "revision": 2, "colour": "red"},
    {"action": "submit", "revision": 2, "deadline": "soon"},
    {"action": "comment", "revision": 2, "note": "x" * 2001},
    {"action": "comment", "revision": 2, "note": "a\0b"},
    {"action": "attach", "revision": 2},
    [],
    None,
)


async def test_a_step_that_is_none_is_refused_before_it_is_tried(
    town: Town, subtests: pytest.Subtests
) -> None:
    case_id = await town.case_of()
    for body in NO_STEPS:
        with subtests.test(str(body)[:80]):
            answer = await town.clients["zhang"].post(f"/cases/{case_id}/steps", json=body)
            problem(answer, 422, "invalid")


async def test_unknown_cases_and_evidence_are_not_found(town: Town) -> None:
    wang = town.clients["wang"]
    problem(await wang.get(f"/cases/{uuid4()}"), 404, "not_found")
    problem(await wang.get(f"/evidence/{uuid4()}"), 404, "not_found")
    problem(await wang.get("/cases/GD-1"), 422, "invalid")
    answer = await wang.post(f"/cases/{uuid4()}/steps", json={"action": "comment", "revision": 1})
    problem(answer, 404, "not_found")


async def test_cases_are_listed_newest_first_in_pages(town: Town) -> None:
    made = [
        str(await town.case_of(raised_at=RAISED_AT - timedelta(minutes=minute)))
        for minute in (0, 1, 1, 2, 3)
    ]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await town.clients["wang"].get(
            "/cases", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        )
        seen += [case["id"] for case in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert sorted(seen) == sorted(made)
    assert [seen[0], seen[3], seen[4]] == [made[0], made[3], made[4]]


async def test_cases_are_found_by_what_is_asked(town: Town) -> None:
    red = str(await town.case_of())
    smoke = str(await town.case_of(enterprise="E2", kind="smoke_detector", tier=Tier.BLUE))
    closed = await town.case_of(tier=Tier.YELLOW)
    await town.clear(closed)
    await town.bring_to(closed, "submitted")
    await town.take("li", closed, "close")
    alarm_id = str(await town.alarm_of(closed))
    town.now = RAISED_AT + timedelta(minutes=10)
    for wanted, found in (
        ({"state": "open"}, {red, smoke}),
        ({"state": "closed"}, {str(closed)}),
        ({"stage": ["closed", "signed"]}, {str(closed)}),
        ({"tier": "red"}, {red}),
        ({"tier": ["red", "blue"]}, {red, smoke}),
        ({"enterprise": "E2"}, {smoke}),
        ({"device": "SD-1"}, {smoke}),
        ({"kind": "gas_detector"}, {red, str(closed)}),
        ({"alarm": alarm_id}, {str(closed)}),
        ({"overdue": True}, {red}),
        ({"overdue": False}, {smoke, str(closed)}),
        ({"from": (RAISED_AT + timedelta(microseconds=1)).isoformat()}, set()),
        ({"to": RAISED_AT.isoformat()}, set()),
        ({"point": "GD-1.q1"}, {red}),
    ):
        items = (await town.clients["wang"].get("/cases", params=wanted)).json()["items"]
        assert {case["id"] for case in items} == found, wanted


async def test_a_cursor_of_another_list_is_refused(town: Town, subtests: pytest.Subtests) -> None:
    for cursor in ("x", "WzFd", "WyJhIiwiYiJd", "W3sidCI6IjIwMjYtMDEtMDEifSwieCJd"):
        with subtests.test(cursor):
            answer = await town.clients["wang"].get("/cases", params={"cursor": cursor})
            assert answer.status_code in (400, 422), answer.text


async def test_figures_are_split_as_asked_and_name_their_members(town: Town) -> None:
    red, second = (
        await town.case_of(),
        await town.case_of(raised_at=RAISED_AT + timedelta(seconds=1)),
    )
    await town.case_of(enterprise="E2", kind="smoke_detector", tier=Tier.BLUE, drill=True)
    hour = {"from": RAISED_AT.isoformat(), "to": (RAISED_AT + timedelta(hours=1)).isoformat()}
    sun = town.clients["sun"]

    async def ask(path: str, **wanted: Any) -> Any:
        answer = await sun.get(f"/kpi/{path}", params=hour | wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = await ask("handling", group_by="tier", members=True)
    alarm_ids = [str(await town.alarm_of(case)) for case in (red, second)]
    assert (told["from"], told["to"]) == ("2026-11-22T01:00:00.000Z", "2026-11-22T02:00:00.000Z")
    assert (told["raised"], told["drills"], told["members"]) == (2, 1, alarm_ids)
    assert [(group["key"], group["raised"], group["rate"]) for group in told["groups"]] == [
        ("blue", 0, None),
        ("red", 2, 0.0),
    ]
    assert "floored to 4 places" in told["formula"]
    response = await ask("response", group_by="area")
    assert (response["raised"], response["responded"], response["response_rate"]) == (2, 0, 0.0)
    assert response["stages"]["signed"] == {"of": 0, "p50_s": None, "p90_s": None, "worst_s": None}
    assert sum(group["raised"] for group in response["groups"]) == 2
    wanted = {"figure": "open", "group_by": "tier", "key": "red", "limit": 1}
    pages = [await ask("members", **wanted)]
    pages.append(await ask("members", **wanted, cursor=pages[0]["next_cursor"]))
    assert [page["total"] for page in pages] == [2, 2]
    assert [page["items"][0]["alarm_id"] for page in pages] == alarm_ids
    assert pages[1]["next_cursor"] is None
    for wrong in ({"figure": "beauty"}, {"figure": "open", "key": "red"}):
        problem(await sun.get("/kpi/members", params=hour | wrong), 422, "invalid")


async def test_the_load_of_the_operators_names_floods_and_bad_actors(town: Town) -> None:
    first = await town.case_of(raised_at=RAISED_AT + timedelta(seconds=1), enterprise="E2")
    await raise_alarms(town.owner, 11, raised_at=RAISED_AT + timedelta(minutes=2))
    await raise_alarms(town.owner, 1, raised_at=RAISED_AT, drill=True)
    hour = {"from": RAISED_AT.isoformat(), "to": (RAISED_AT + timedelta(hours=1)).isoformat()}

    async def ask(who: str, **wanted: Any) -> Any:
        return (await town.clients[who].get("/kpi/alarm-system", params=hour | wanted)).json()

    told = await ask("sun")
    assert (told["alarms"], told["per_10_min"], told["peak_10_min"]) == (12, 2.0, 12)
    (flood,) = told["floods"]
    assert (flood["from"], flood["to"]) == ("2026-11-22T01:02:00.000Z", "2026-11-22T01:12:00.000Z")
    assert (flood["alarms"], flood["peak"]) == (12, 12)
    assert flood["first_out"] == str(await town.alarm_of(first))
    assert told["time_in_flood"] == pytest.approx(1 / 6)
    assert told["per_hour"] == [12]
    assert told["tiers"] == {"red": 1, "orange": 0, "yellow": 11, "blue": 0}
    assert (len(told["sources"]), told["top10_share"]) == (10, pytest.approx(10 / 12))
    assert (told["chattering"], told["fleeting"], told["stale"]) == (0, [], [])
    assert told["standing"] == 12
    assert (await ask("sun", seats=2))["floods"] == []
    assert (await ask("qian"))["alarms"] == 1
    assert (await ask("sun", group_by="tier"))["status"] == 422


async def test_a_period_that_is_none_is_refused(town: Town, subtests: pytest.Subtests) -> None:
    for wanted in (
        {"from": "2026-11-22T01:00:00"},
        {"from": "2026-11-22T02:00:00Z", "to": "2026-11-22T01:00:00Z"},
        {"from": "2020-01-01T00:00:00Z", "to": "2026-11-22T01:00:00Z"},
        {"group_by": "colour"},
        {"to": "yesterday"},
    ):
        with subtests.test(str(wanted)):
            answer = await town.clients["sun"].get("/kpi/handling", params=wanted)
            problem(answer, 422, "invalid")
