"""The page as people use it: a real Chromium on the real service."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import PASSWORD, Town
from tests.files import jpeg
from tests.worlds import eventually

JPEG = jpeg()


def row(page: Page, device: str) -> Locator:
    """The line of a device's alarm in the list."""
    return page.get_by_role("row", name=re.compile(rf"\b{device}\."))


def detail(page: Page) -> Locator:
    """The panel beside the list."""
    return page.get_by_role("complementary", name="报警详情")


def event_of(page: Page, text: str) -> Locator:
    """An entry of the timeline."""
    return page.get_by_role("region", name="时间线").get_by_text(text, exact=True)


@pytest.mark.parametrize("username", ["operator", "nobody"])
def test_a_wrong_password_and_an_unknown_name_are_answered_alike(visit: Any, username: str) -> None:
    page = visit().sign_in(username, "wrong")
    expect(page.get_by_role("alert")).to_have_text("用户名或密码不正确")
    expect(page.get_by_label("密码", exact=True)).to_have_value("")
    expect(page.get_by_role("grid")).to_have_count(0)


def test_with_no_alarm_the_page_says_so_with_time_and_link(visit: Any, town: Town) -> None:
    page = visit().sign_in("operator")
    expect(page.get_by_test_id("empty")).to_have_text(
        re.compile(r"当前无未关闭报警（截至 \d\d:\d\d:\d\d，数据链路正常）")
    )


def test_an_alarm_appears_by_itself_is_read_and_acknowledged(visit: Any, town: Town) -> None:
    page = visit().sign_in("operator")
    expect(page.locator("[data-link=ok]")).to_be_visible()
    device = town.device("GD")
    town.read({f"{device}.lel": 5})
    town.read({f"{device}.lel": 60})
    line = row(page, device)
    expect(line).to_contain_text("橙·较大")
    expect(line).to_contain_text("60 %LEL")
    expect(line).to_contain_text("≥ 50")
    expect(line).to_contain_text("未确认")
    expect(page.get_by_test_id("count-orange")).to_contain_text("未确认 1")

    line.click()
    panel = detail(page)
    expect(panel).to_contain_text("可燃气体浓度高")
    expect(panel).to_contain_text("切断气源")
    expect(panel.get_by_role("img", name=re.compile("2 个值"))).to_be_visible()
    expect(panel).to_contain_text("属地监管部门")

    page.keyboard.press("k")
    expect(line).to_contain_text("已派发")
    expect(event_of(page, "已确认")).to_be_visible()
    expect(page.get_by_test_id("count-orange")).to_contain_text("未确认 0")
    assert town.ask(
        """SELECT acknowledged_by FROM alarm JOIN device USING (device_id) WHERE code = %s""",
        device,
    ) == [("operator",)]

    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_what_another_person_does_is_seen_without_reloading(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    pages = [visit().enter(who) for who in ("operator", "supervisor")]
    for page in pages:
        row(page, device).click()
    detail(pages[0]).get_by_role("button", name="确认 (K)").click()
    expect(detail(pages[1])).to_contain_text("operator 已确认")
    expect(detail(pages[1]).get_by_role("button", name="确认 (K)")).to_have_count(0)


def test_the_language_changes_while_the_page_runs_and_is_remembered(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    page = visit().enter("operator")
    expect(row(page, device)).to_contain_text("可燃气体浓度高")
    page.get_by_role("button", name="EN").click()
    expect(row(page, device)).to_contain_text("Combustible gas high")
    expect(page.get_by_role("columnheader", name="Deadline")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    expect(row(page, device)).to_contain_text("Orange · severe")
    chinese = re.compile("[\u4e00-\u9fff]")
    assert not chinese.search(
        page.locator(".filter").inner_text() + page.locator(".foot").inner_text()
    )


def test_a_red_case_is_walked_to_closed_on_the_page(visit: Any, town: Town) -> None:
    device = town.device("SD")
    town.read({f"{device}.smoke": True})
    site = visit().enter("zhang")
    expect(site.get_by_role("region", name="未确认的红色报警")).to_contain_text(device)
    expect(row(site, device).get_by_role("button", name="确认")).to_have_count(0)
    row(site, device).click()
    case = site.get_by_role("region", name="处置", exact=True)
    case.get_by_role("button", name="签收", exact=True).click()
    expect(case).to_contain_text("✓ zhang")
    expect(case).to_contain_text("等待双方签收")

    officer = visit().enter("authority")
    row(officer, device).click()
    review = officer.get_by_role("region", name="处置", exact=True)
    review.get_by_role("button", name="签收", exact=True).click()

    case.get_by_role("button", name="核实", exact=True).click()
    case.get_by_role("button", name="确定核实").click()
    expect(case.get_by_role("alert")).to_have_text("请填写：核实结论")
    case.get_by_text("属实").click()
    case.get_by_role("button", name="确定核实").click()
    case.get_by_role("button", name="开始处置", exact=True).click()
    case.get_by_role("button", name="确定开始处置").click()

    case.get_by_role("button", name="提交复核", exact=True).click()
    case.get_by_role("textbox", name="原因").fill("电气线路过热")
    case.get_by_label("处置措施").fill("断电并更换线路")
    case.get_by_label("责任人").fill("张三")
    case.get_by_label("资金").fill("2000 元")
    case.get_by_label("完成时限").fill("2026-12-31")
    case.get_by_label("应急预案").fill("全楼排查")
    case.get_by_role("button", name="确定提交复核").click()
    expect(case.get_by_role("alert")).to_have_text("请填写：证据（照片或 PDF）")
    case.get_by_label("证据（照片或 PDF）").set_input_files(
        {"name": "现场.jpg", "mimeType": "image/jpeg", "buffer": JPEG}
    )
    case.get_by_role("button", name="确定提交复核").click()
    expect(case).to_contain_text("等待他人复核")
    expect(case).to_contain_text("现场.jpg")

    expect(review.get_by_role("button", name="退回整改", exact=True)).to_be_visible()
    expect(review.get_by_role("button", name="通过并销警", exact=True)).to_have_count(0)
    town.read({f"{device}.smoke": False})
    review.get_by_role("button", name="通过并销警", exact=True).click()
    review.get_by_label("说明").fill("照片齐全")
    review.get_by_role("button", name="确定通过并销警").click()
    expect(case).to_contain_text("已销警")
    # Smoke latches: it stays on the list until the centre resets it.
    watch = visit().enter("operator")
    row(watch, device).click()
    watch.get_by_role("button", name="复位", exact=True).click()
    expect(row(site, device)).to_have_count(0)
    assert town.ask(
        """SELECT c.stage, c.verdict, c.deadline::text, c.closed_by, c.handlers
             FROM disposal_case c JOIN alarm USING (alarm_id) JOIN device USING (device_id)
            WHERE code = %s""",
        device,
    ) == [("closed", "real", "2026-12-31", "authority", ["zhang"])]


def test_what_was_typed_survives_what_another_person_does(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    page = visit().enter("supervisor")
    row(page, device).click()
    case = page.get_by_role("region", name="处置", exact=True)
    case.get_by_role("button", name="备注", exact=True).click()
    case.get_by_label("说明").fill("已通知消防")
    with town.client("operator") as operator:
        (found,) = operator.get("/cases", params={"device": device}).json()["items"]
        answer = operator.post(
            f"/cases/{found['id']}/steps",
            json={"action": "comment", "revision": found["revision"], "note": "先到现场"},
        )
        assert answer.status_code == 201, answer.text
    expect(case).to_contain_text("operator 刚刚备注")
    expect(case.get_by_label("说明")).to_have_value("已通知消防")
    case.get_by_role("button", name="确定备注").click()
    expect(page.get_by_role("region", name="时间线")).to_contain_text("已通知消防")


def test_an_alarm_that_got_worse_unseen_is_not_acknowledged_but_shown(
    visit: Any, town: Town
) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 30})
    page = visit().enter("operator")
    line = row(page, device)
    expect(line).to_contain_text("黄·一般")

    def worse_before_it_arrives(route: Route) -> None:
        town.read({f"{device}.lel": 70})
        worst = "SELECT tier FROM alarm JOIN device USING (device_id) WHERE code = %s"
        eventually(lambda: town.ask(worst, device) == [(3,)], "the alarm is orange")
        route.continue_()

    page.route("**/acknowledge", worse_before_it_arrives, times=1)
    line.get_by_role("button", name="确认").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("报警已变化，未确认")
    expect(dialog).to_contain_text("黄·一般")
    expect(dialog).to_contain_text("橙·较大")
    expect(line).to_contain_text("未确认")
    dialog.get_by_role("button", name="重新确认").click()
    expect(line).to_contain_text("已派发")


def test_the_list_does_not_move_under_the_pointer(visit: Any, town: Town) -> None:
    first, second = town.device("GD"), town.device("SD")
    town.read({f"{first}.lel": 60})
    page = visit().enter("operator")
    row(page, first).hover()
    before = page.locator(".grid-body [role=row]").evaluate_all("rows => rows.map(r => r.id)")
    town.read({f"{second}.smoke": True})
    expect(page.get_by_role("region", name="未确认的红色报警")).to_contain_text(second)
    after = page.locator(".grid-body [role=row]").evaluate_all("rows => rows.map(r => r.id)")
    assert after == before
    page.get_by_role("button", name="新到 1 条（红 1）").click()
    expect(page.locator(".grid-body [role=row]").first).to_contain_text(second)


def test_the_list_is_worked_by_keyboard_alone(visit: Any, town: Town) -> None:
    device = town.device("SD")
    town.read({f"{device}.smoke": True})
    page = visit().enter("operator")
    expect(row(page, device)).to_be_visible()
    grid = page.get_by_role("grid")
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Home")
    top = page.locator(".grid-body [role=row]").first
    expect(grid).to_have_attribute("aria-activedescendant", top.get_attribute("id") or "")
    page.keyboard.press("Enter")
    expect(detail(page)).to_be_focused()
    page.keyboard.press("Escape")
    expect(grid).to_be_focused()
    page.keyboard.press("1")
    expect(page.get_by_test_id("filter-sentence")).to_have_text("全部未关闭 · 级别 红")
    expect(page.locator(".grid-body [data-tier=orange]")).to_have_count(0)
    page.reload()
    expect(page.get_by_test_id("filter-sentence")).to_have_text("全部未关闭 · 级别 红")


def test_seven_tabs_of_one_browser_are_all_alive(visit: Any, town: Town) -> None:
    visitor = visit()
    pages = [visitor.enter("operator")]
    expect(pages[0].locator("[data-link=ok]")).to_be_visible()
    for _ in range(6):
        page = visitor.page()
        page.goto(town.url)
        pages.append(page)
    for page in pages:
        expect(page.locator("[data-link=ok]")).to_be_visible()
    device = town.device("SD")
    town.read({f"{device}.smoke": True})
    for page in pages:
        expect(page.get_by_role("region", name="未确认的红色报警")).to_contain_text(device)


def test_an_ended_session_asks_for_the_password_over_the_page(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    page = visit().enter("supervisor")
    row(page, device).click()
    case = page.get_by_role("region", name="处置", exact=True)
    case.get_by_role("button", name="备注", exact=True).click()
    case.get_by_label("说明").fill("写到一半")
    town.end_sessions()
    case.get_by_role("button", name="确定备注").click()
    sheet = page.get_by_role("dialog", name="HazardLoop")
    expect(sheet).to_contain_text("登录已过期")
    sheet.get_by_label("密码", exact=True).fill(PASSWORD)
    sheet.get_by_role("button", name="登录").click()
    expect(sheet).to_have_count(0)
    expect(case.get_by_label("说明")).to_have_value("写到一半")
    case.get_by_role("button", name="确定备注").click()
    expect(page.get_by_role("region", name="时间线")).to_contain_text("写到一半")


def test_a_lost_server_shows_and_the_page_recovers_by_itself(visit: Any, town: Town) -> None:
    visitor = visit()
    visitor.context.clock.install()
    page = visitor.enter("operator")
    expect(page.locator("[data-link=ok]")).to_be_visible()
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    expect(row(page, device)).to_be_visible()
    wall = visitor.page()
    wall.goto(f"{town.url}/?page=wall")
    expect(wall.locator(".wall-middle")).to_contain_text(device)
    stopped = wall.get_by_test_id("wall-stopped")
    expect(stopped).to_have_count(0)
    row(page, device).click()
    case = page.get_by_role("region", name="处置", exact=True)
    case.get_by_role("button", name="备注", exact=True).click()
    case.get_by_label("说明").fill("写到一半")

    town.stop_api()
    expect(page.locator("[data-link=connecting]")).to_be_visible()
    case.get_by_label("说明").press_sequentially("，服务器已停")
    page.clock.fast_forward(11_000)
    expect(page.locator("[data-link=amber]")).to_be_visible()
    expect(page.get_by_test_id("link-bar")).to_contain_text("未收到服务器心跳")
    expect(stopped).to_contain_text("数据停止于")
    page.clock.fast_forward(60_000)
    expect(page.locator("[data-link=red]")).to_be_visible()
    expect(page.get_by_test_id("link-bar")).to_contain_text("请启用备用值守")
    expect(row(page, device)).to_be_visible()
    expect(row(page, device).get_by_role("button", name="确认")).to_have_count(0)

    meanwhile = town.device("SD")
    town.read({f"{meanwhile}.smoke": True})
    town.start_api()
    expect(page.locator("[data-link=ok]")).to_be_visible()
    expect(page.get_by_role("region", name="未确认的红色报警")).to_contain_text(meanwhile)
    expect(page.get_by_test_id("link-bar")).to_have_count(0)
    expect(stopped).to_have_count(0)
    expect(case.get_by_label("说明")).to_have_value("写到一半，服务器已停")
    case.get_by_role("button", name="确定备注").click()
    expect(page.get_by_role("region", name="时间线")).to_contain_text("服务器已停")


def test_a_clock_that_is_wrong_shows_and_no_deadline_goes_by_it(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    visitor = visit()
    (ahead,) = town.ask("SELECT now() + interval '2 hours'")[0]
    visitor.context.clock.install(time=ahead)
    page = visitor.enter("operator")
    expect(page.get_by_text(re.compile(r"本机时钟差 -7[12]\d\d 秒"))).to_be_visible()
    expect(row(page, device)).to_contain_text(re.compile(r"剩 \d"))


def test_names_that_are_markup_are_shown_as_text(visit: Any, town: Town) -> None:
    device = town.device("GD")
    nasty = "<img src=x onerror=owned=1>\u202e\u0645\u0635\u0646\u0639"
    town.ask("UPDATE device SET name = %s, location = %s WHERE code = %s RETURNING 1",
             nasty, nasty, device)  # fmt: skip
    town.read({f"{device}.lel": 60})
    page = visit().enter("operator")
    expect(row(page, device)).to_contain_text("<img src=x")
    row(page, device).click()
    expect(detail(page)).to_contain_text("<img src=x")
    assert page.evaluate("() => window.owned") is None
    assert page.locator("img[src=x]").count() == 0
