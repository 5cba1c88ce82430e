"""Every screen: axe finds nothing. With --screens in every look, and a picture of each is kept.

./hazardloop test tests/browser/test_screens.py --screens docs/screens
"""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from hazardloop.devices.instants import rfc3339
from tests import worlds
from tests.browser.conftest import Town
from tests.browser.test_console import row
from tests.browser.test_desk_registers import LEL, ammonia_store, drawn_plan
from tests.browser.test_desk_screens import case_of, step, submitted, watches
from tests.worlds import eventually

AXE: Final = worlds.REPOSITORY / "console" / "node_modules" / "axe-core" / "axe.min.js"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
FOUND: Final = """async (tags) => {
    const { violations } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
    return violations.map(({ id, nodes }) =>
        `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
}"""
SMOKE: Final = ("SD-19", "SD-20")
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
DESK: Final[dict[str, Any]] = {"viewport": {"width": 1440, "height": 810}}


@pytest.fixture(scope="module")
def busy_town(town: Town) -> Town:
    """A town in which every screen has something to show."""
    watches(town)
    for value in (30, 60, 70):
        town.read({f"{town.device('GD')}.lel": value})
    for device in SMOKE:
        town.read({f"{device}.smoke": True})
    quiet = town.device("GD")
    town.read({f"{quiet}.lel": 30})
    with town.client("operator") as operator:
        operator.post(
            f"/alarms/{case_of(town, quiet)['alarm_id']}/shelve",
            json={"minutes": 60, "reason": "探头受潮抖动，维保 14 点到场"},
        ).raise_for_status()
        line = {"category": "call", "text": "已电话通知企业值班员"}
        operator.post("/log", json=line).raise_for_status()
    reviewed = town.device("GD")
    town.read({f"{reviewed}.lel": 60})
    submitted(town, reviewed)
    signed = case_of(town, SMOKE[0])["id"]
    for who in ("zhang", "authority"):
        step(town, who, signed, "sign")
    with town.client("supervisor") as client:
        found = {
            "enterprise": "E1", "grade": "major", "origin": "self_inspection",
            "title": "3号罐区防火堤破损", "place": "3号罐区",
        }  # fmt: skip
        client.post("/hazards", json=found).raise_for_status()
        (at,) = town.ask("SELECT now()")[0]
        start = at + timedelta(hours=3)
        drill = {
            "kind": "drill", "title": "1号罐区泄漏演练", "tier": "orange",
            "scope": {"devices": ["E1:GD-18"]}, "starts_at": rfc3339(start),
            "ends_at": rfc3339(start + timedelta(hours=1)),
        }  # fmt: skip
        answer = client.post("/drills", json=drill)
        assert answer.status_code == 201, answer.text
        rule = client.get(f"/rules/{LEL}").json()["versions"][0]["body"]
        change = {"off_delay_s": 20, "reason": "短时波动多，延长恢复"}
    with town.client("admin") as client:
        client.put(f"/rules/{LEL}", json=rule | change).raise_for_status()
    ammonia_store(town, "HU-1")
    drawn_plan(town, "厂区平面", GD_1=(150, 130), GD_2=(165, 140), GD_3=(320, 130))
    town.publisher.publish("hl/v1/E1/G1/telemetry", b"{broken", qos=1).wait_for_publish(30)
    eventually(lambda: bool(town.ask("SELECT 1 FROM dead_letter")), "a message is set aside")
    return town


@pytest.fixture
def pictures(request: pytest.FixtureRequest) -> Path | None:
    """Where pictures of the screens are wanted."""
    wanted = request.config.getoption("--screens")
    return None if wanted is None else Path(wanted).resolve()


def settled(page: Page) -> None:
    """The screen shows its data, and nothing is being fetched for it any more."""
    expect(page.locator(".app-body > :not(.menu)").first).to_be_visible()
    expect(page.get_by_text(re.compile("正在载入|Loading"))).to_have_count(0)
    expect(page.locator(".empty[role=alert]")).to_have_count(0)
    page.evaluate("() => document.fonts.ready")


def screens_of(page: Page, opened: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Name and address of each screen in the menu, and of those with something opened."""
    for link in page.locator(".menu a").all():
        name, address = link.get_attribute("data-page"), link.get_attribute("href")
        assert name
        assert address
        yield name, address
        if name in opened:
            yield f"{name}-open", address + opened[name]


def wraps(page: Page, language: str, width: int) -> bool:
    """Whether the bar at the top takes a second line at that width, with its longest button."""
    words = json.loads((worlds.REPOSITORY / "console" / "locales" / f"{language}.json").read_text())
    page.get_by_test_id("sound").evaluate(
        "(button, text) => (button.textContent = text)", words["sound"]["blocked"]
    )
    page.set_viewport_size({"width": width, "height": DESK["viewport"]["height"]})
    tall = page.locator(".top").bounding_box()
    assert tall
    return tall["height"] > 60


LOOKS: Final = {"chinese light": ("zh-CN", "light"), "english dark": ("en", "dark")}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """At a desk and on a phone: each in one look, or in all of them where pictures are wanted."""
    if "theme" in metafunc.fixturenames:
        seen = list(zip(("supervisor", "zhang"), LOOKS, strict=True))
        if metafunc.config.getoption("--screens"):
            seen = [(user, look) for look in LOOKS for user in ("supervisor", "zhang")]
        metafunc.parametrize(
            ("username", "language", "theme"),
            [(user, *LOOKS[look]) for user, look in seen],
            ids=[f"{user} in {look}" for user, look in seen],
        )


def test_a_screen_reader_finds_its_way_on_every_screen(
    visit: Any, busy_town: Town, username: str, language: str, theme: str, pictures: Path | None
) -> None:
    visitor = visit(**(PHONE if username == "zhang" else DESK))
    visitor.context.add_init_script(
        f"localStorage.setItem('hazardloop.language', '\"{language}\"');"
        f"localStorage.setItem('hazardloop.theme', '\"{theme}\"');"
        "localStorage.setItem('hazardloop.still', 'true');"
    )
    page = visitor.enter(username)
    settled(page)
    faults: list[str] = []
    if username == "zhang":
        page.locator(".menu-button").click()
    else:
        faults += [
            f"the bar wraps at {width} px" for width in (1280, 1440) if wraps(page, language, width)
        ]
    alarm = case_of(busy_town, SMOKE[0])["alarm_id"]
    opened = {"alarms": f"&alarm={alarm}", "hazards": "&item=1", "registry": "&item=E1"}
    opened |= {"levels": "&item=1", "rules": f"&item={LEL}", "tasks": f"&alarm={alarm}"}
    for name, address in list(screens_of(page, opened)):
        page.goto(busy_town.url + address)
        settled(page)
        page.evaluate(AXE.read_text())
        faults += [f"{name}: {fault}" for fault in page.evaluate(FOUND, RULES)]
        if pictures:
            kind = "phone-" if username == "zhang" else ""
            page.screenshot(path=pictures / language / f"{kind}{name}.png")
    assert not faults, "\n".join(faults)


def test_the_login_is_read_out_whole(visit: Any, busy_town: Town, pictures: Path | None) -> None:
    page = visit(**DESK).page()
    page.goto(busy_town.url)
    expect(page.get_by_label("用户名")).to_be_visible()
    page.evaluate(AXE.read_text())
    assert page.evaluate(FOUND, RULES) == []
    if pictures:
        page.screenshot(path=pictures / "zh-CN" / "login.png")


def test_a_row_of_the_list_is_not_hidden_by_the_menu(visit: Any, busy_town: Town) -> None:
    page = visit(**DESK).enter("supervisor")
    expect(row(page, SMOKE[1])).to_be_visible()
    page.get_by_role("button", name="菜单").click()
    expect(page.get_by_role("navigation", name="菜单")).to_have_count(0)
    page.reload()
    expect(row(page, SMOKE[1])).to_be_visible()
    expect(page.get_by_role("navigation", name="菜单")).to_have_count(0)
