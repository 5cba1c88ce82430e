"""The screens beside the alarm list: what is withheld, the watch, the review, tasks on a phone."""

import re
from datetime import timedelta
from typing import Any

from playwright.sync_api import Locator, Page, expect

from hazardloop.devices.instants import rfc3339
from tests.browser.conftest import Town
from tests.browser.test_console import JPEG, detail, row
from tests.worlds import eventually


def menu(page: Page) -> Locator:
    """The lines of the menu."""
    return page.get_by_role("navigation", name="菜单").get_by_role("link")


def show(page: Page, name: str) -> None:
    """Goes to a screen by its line in the menu."""
    page.get_by_role("navigation", name="菜单").get_by_role(
        "link", name=re.compile(rf"^{re.escape(name)}")
    ).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def case_of(town: Town, device: str) -> dict[str, Any]:
    """The case of a device's alarm, as soon as there is one."""
    with town.client("supervisor") as client:

        def found() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = client.get("/cases", params={"device": device}).json()[
                "items"
            ]
            return items

        eventually(lambda: bool(found()), "the case is there")
        return found()[0]


def step(town: Town, username: str, case_id: str, action: str, **body: Any) -> dict[str, Any]:
    """One step of a case, taken over the API."""
    with town.client(username) as client:
        revision = client.get(f"/cases/{case_id}").json()["revision"]
        answer = client.post(
            f"/cases/{case_id}/steps", json={"action": action, "revision": revision} | body
        )
    assert answer.status_code == 201, answer.text
    taken: dict[str, Any] = answer.json()
    return taken


def submitted(town: Town, device: str) -> str:
    """Id of a case that the enterprise has handled and submitted."""
    case_id: str = case_of(town, device)["id"]
    for who in ("zhang", "authority"):
        step(town, who, case_id, "sign")
    step(town, "zhang", case_id, "verify", verdict="real")
    step(town, "zhang", case_id, "handle")
    with town.client("zhang") as client:
        client.post(
            f"/cases/{case_id}/evidence", files={"file": ("a.jpg", JPEG, "image/jpeg")}
        ).raise_for_status()
    step(town, "zhang", case_id, "submit", cause="阀门泄漏", measures="更换阀门")
    return case_id


def test_everybody_has_the_menu_of_their_work_with_live_counts(visit: Any, town: Town) -> None:
    page = visit().enter("operator")
    expect(menu(page).filter(has_text="交接班")).to_be_visible()
    expect(menu(page).filter(has_text="我的待办")).to_have_count(0)
    expect(page.get_by_test_id("badge-alarms")).to_have_count(0)
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    expect(page.get_by_test_id("badge-alarms")).to_have_text("1")

    site = visit().enter("zhang")
    expect(menu(site).filter(has_text="我的待办")).to_contain_text("1")
    expect(menu(site).filter(has_text="交接班")).to_have_count(0)
    site.goto(f"{town.url}/?page=handover")
    expect(row(site, device)).to_be_visible()  # not theirs: they start at the alarms


def test_an_acknowledgement_is_taken_back_as_a_second_entry(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    page = visit().enter("operator")
    row(page, device).get_by_role("button", name="确认").click()
    expect(row(page, device)).to_contain_text("已派发")
    page.get_by_role("status").filter(has_text=device).get_by_role("button", name="撤销").click()
    expect(row(page, device).get_by_role("button", name="确认")).to_be_visible()
    changes = """SELECT change FROM alarm_change JOIN alarm USING (alarm_id)
                   JOIN device USING (device_id) WHERE code = %s ORDER BY alarm_change.version"""
    said = [change for (change,) in town.ask(changes, device)]
    assert said[-2:] == ["acknowledged", "unacknowledged"]


def test_what_is_withheld_is_listed_counted_and_released(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 30})
    page = visit().enter("supervisor")
    expect(row(page, device)).to_be_visible()
    show(page, "搁置·抑制·停用")
    expect(page.get_by_test_id("empty")).to_have_text("没有被搁置、抑制或停用的报警")
    alarm = case_of(town, device)["alarm_id"]
    with town.client("operator") as operator:
        wish = {"minutes": 60, "reason": "探头受潮抖动"}
        assert operator.post(f"/alarms/{alarm}/shelve", json=wish).status_code == 201
    line = page.get_by_role("row").filter(has_text=f"{device}.lel")
    expect(line).to_contain_text("探头受潮抖动")
    expect(line).to_contain_text("operator")
    expect(line).to_contain_text(re.compile(r"剩 (59:\d\d|1:00:00)"))
    expect(page.get_by_test_id("badge-holds")).to_have_text("1")

    line.get_by_role("button", name="解除", exact=True).click()
    line.get_by_role("button", name="确定解除？").click()
    expect(page.get_by_test_id("empty")).to_be_visible()
    expect(page.get_by_test_id("badge-holds")).to_have_count(0)
    page.get_by_role("button", name="已结束").click()
    expect(page.get_by_role("row").filter(has_text=device)).to_contain_text("已解除 supervisor")


def watches(town: Town) -> None:
    """The operator stands watch now, and the supervisor comes next."""
    (at,) = town.ask("SELECT now()")[0]
    turn = at + timedelta(hours=2)
    plans = [
        ("白班", at - timedelta(hours=6), turn, "operator", "operator"),
        ("夜班", turn, turn + timedelta(hours=8), "duty_supervisor", "supervisor"),
    ]
    with town.client("supervisor") as client:
        for name, start, end, post, username in plans:
            plan = {"name": name, "starts_at": rfc3339(start), "ends_at": rfc3339(end)}
            answer = client.post(
                "/shifts", json=plan | {"roster": [{"post": post, "username": username}]}
            )
            assert answer.status_code == 201, answer.text


def tick_all(page: Page, word: str) -> None:
    """Every section of the sheet is ticked."""
    for box in page.get_by_role("checkbox", name=word).all():
        box.check()


def test_a_watch_is_handed_over_on_a_sheet_that_two_people_sign(visit: Any, town: Town) -> None:
    watches(town)
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_of(town, device)
    going = visit().enter("operator")
    show(going, "交接班")
    expect(going.get_by_role("region", name="报警中", exact=True)).to_contain_text(device)
    sign = going.get_by_role("button", name="签字交班")
    expect(sign).to_be_disabled()
    tick_all(going, "已口头说明")
    going.get_by_label("交班说明").fill("3 号罐检修中")
    going.get_by_label("内容").fill("已电话通知企业值班员")
    going.get_by_role("button", name="记一条").click()
    expect(going.get_by_role("listitem").filter(has_text="已电话通知企业值班员")).to_contain_text(
        "电话"
    )
    sign.click()
    expect(going.locator("[data-state=submitted]")).to_contain_text("✓ operator")
    expect(going.get_by_text("交班人不能自己接班")).to_be_visible()
    expect(going.get_by_role("button", name="核对并签字接班")).to_have_count(0)

    coming = visit().enter("supervisor")
    show(coming, "交接班")
    expect(coming.get_by_label("交班说明")).to_have_value("3 号罐检修中")
    tick_all(coming, "已核对")
    coming.get_by_role("button", name="核对并签字接班").click()
    expect(coming.locator("[data-state=accepted]")).to_contain_text("✓ supervisor")
    signed = "SELECT submitted_by, accepted_by, notes FROM shift WHERE name = '白班'"
    assert town.ask(signed) == [("operator", "supervisor", "3 号罐检修中")]


def test_a_case_is_returned_by_another_than_who_handled_it(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    submitted(town, device)
    town.read({f"{device}.lel": 5})
    officer = visit().enter("authority")
    show(officer, "督办与复核")
    officer.get_by_role("button", name=f"{device}.lel").click()
    case = officer.get_by_role("region", name="处置", exact=True)
    expect(case).to_contain_text("更换阀门")
    case.get_by_role("button", name="退回整改", exact=True).click()
    case.get_by_role("button", name="确定退回整改").click()
    expect(case.get_by_role("alert")).to_have_text("请填写：说明")
    case.get_by_label("说明").fill("缺处置后照片")

    site = visit().enter("zhang")
    row(site, device).click()
    own = site.get_by_role("region", name="处置", exact=True)
    expect(own).to_contain_text("不能自己复核")
    expect(own.get_by_role("button", name="通过并销警")).to_have_count(0)

    case.get_by_role("button", name="确定退回整改").click()
    expect(officer.get_by_test_id("empty")).to_have_text("没有待复核的案件")
    expect(own).to_contain_text("被退回 1 次")
    expect(detail(site)).to_contain_text("缺处置后照片")
    show(site, "我的待办")
    expect(site.get_by_role("article", name=device)).to_contain_text("被退回 1 次")


def test_a_phone_shows_the_tasks_and_signs_with_one_tap(visit: Any, town: Town) -> None:
    device = town.device("SD")
    town.read({f"{device}.smoke": True})
    phone = visit(viewport={"width": 390, "height": 664}, has_touch=True).enter("zhang")
    expect(phone.get_by_role("heading", name="我的待办")).to_be_visible()
    card = phone.get_by_role("article", name=device)
    expect(card).to_contain_text("红·重大")
    expect(card).to_contain_text(re.compile(r"签收 剩 \d+:\d\d"))
    sign = card.get_by_role("button", name="签收")
    size = sign.bounding_box()
    assert size is not None
    assert size["height"] >= 48
    sign.tap()
    expect(card).to_contain_text("等待双方签收")
    step(town, "authority", case_of(town, device)["id"], "sign")
    card.get_by_role("button", name="核实").tap()
    panel = phone.get_by_role("complementary", name="处置任务")
    expect(panel.get_by_role("form", name="核实")).to_contain_text("无法到场")
    panel.get_by_role("button", name="关闭").tap()
    phone.get_by_role("button", name="菜单").tap()
    menu(phone).filter(has_text="报警中心").tap()
    expect(row(phone, device)).to_be_visible()
