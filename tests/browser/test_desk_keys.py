"""Several alarms at once, and the desk without a mouse."""

import re
from typing import Any

from playwright.sync_api import expect

from tests.browser.conftest import Town
from tests.browser.test_console import detail, row


def test_several_are_chosen_acknowledged_and_taken_back_but_never_red(
    visit: Any, town: Town
) -> None:
    yellow, orange, red = town.device("GD"), town.device("GD"), town.device("SD")
    town.read({f"{yellow}.lel": 30, f"{orange}.lel": 60, f"{red}.smoke": True})
    page = visit().enter("operator")
    for device in (yellow, orange, red):
        row(page, device).get_by_role("checkbox").click()
    expect(page).to_have_url(re.compile(r"^[^?]*/(\?page=alarms)?$"))  # choosing opens nothing
    bar = page.get_by_role("region", name="批量操作")
    expect(bar).to_contain_text("已选 3 条（红 1 橙 1 黄 1）")
    expect(bar).to_contain_text("红色 1 条须逐条确认")
    # What comes meanwhile waits: while rows are chosen, none moves.
    late = town.device("SD")
    town.read({f"{late}.smoke": True})
    expect(page.get_by_role("button", name="新到 1 条（红 1）")).to_be_visible()
    bar.get_by_role("button", name="确认 2 条（橙 1 黄 1）").click()
    for device in (yellow, orange):
        expect(row(page, device)).to_contain_text("已派发")
    expect(row(page, red)).to_contain_text("未确认")
    expect(bar).to_have_count(0)
    seen = """SELECT code FROM alarm JOIN device USING (device_id)
               WHERE acknowledged_by = 'operator' ORDER BY code"""
    assert town.ask(seen) == [(code,) for code in sorted((yellow, orange))]
    page.get_by_role("status").filter(has_text="已确认 2 条").get_by_role(
        "button", name="撤销"
    ).click()
    for device in (yellow, orange):
        expect(row(page, device).get_by_role("button", name="确认")).to_be_visible()
    assert town.ask(seen) == []


def test_what_another_acknowledged_meanwhile_is_skipped_and_named(visit: Any, town: Town) -> None:
    mine, theirs = town.device("GD"), town.device("GD")
    town.read({f"{mine}.lel": 60, f"{theirs}.lel": 60})
    page = visit().enter("operator")
    for device in (mine, theirs):
        row(page, device).get_by_role("checkbox").click()
    answered = """SELECT alarm_id::text FROM alarm JOIN device USING (device_id) WHERE code = %s"""
    ((alarm,),) = town.ask(answered, theirs)

    def overtaken(route: Any) -> None:
        with town.client("supervisor") as client:
            client.post(f"/alarms/{alarm}/acknowledge", json={}).raise_for_status()
        route.continue_()

    page.route("**/alarms/bulk", overtaken, times=1)
    page.get_by_role("button", name="确认 2 条（橙 2）").click()
    told = page.get_by_role("status").filter(has_text="成功 1 条，跳过 1 条（已由他人确认 1）")
    expect(told).to_be_visible()
    page.get_by_role("button", name="选中跳过的 1 条").click()
    expect(row(page, theirs)).to_have_attribute("aria-selected", "true")
    expect(row(page, mine)).to_have_attribute("aria-selected", "false")


def test_keys_choose_open_forms_and_lead_from_screen_to_screen(visit: Any, town: Town) -> None:
    devices = [town.device("GD") for _ in range(3)]
    town.read({f"{device}.lel": 60 for device in devices})
    page = visit().enter("supervisor")
    for device in devices:
        expect(row(page, device)).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("GD-")
    page.get_by_role("grid").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowDown")
    bar = page.get_by_role("region", name="批量操作")
    expect(bar).to_contain_text("已选 2 条")
    page.keyboard.press("Control+a")
    expect(bar).not_to_contain_text("已选 2 条")
    page.keyboard.press("Escape")
    expect(bar).to_have_count(0)
    page.keyboard.press("c")
    note = detail(page).get_by_role("form", name="备注").get_by_label("说明")
    expect(note).to_be_focused()
    page.keyboard.type("g h ?")  # typed, and no key of the page
    expect(note).to_have_value("g h ?")
    page.keyboard.press("Escape")
    expect(note).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("h")
    expect(page.get_by_role("heading", name="交接班", exact=True)).to_be_visible()
    page.keyboard.press("?")
    help_ = page.get_by_role("dialog", name="快捷键")
    expect(help_).to_contain_text("G H")
    help_.get_by_role("checkbox").uncheck()
    help_.get_by_role("button", name="关闭").click()
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="交接班", exact=True)).to_be_visible()
    page.keyboard.press("F8")
    expect(detail(page)).to_be_focused()
