"""The phone of an enterprise: what is to be done, what became of it, and who is on duty."""

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Town, Visitor
from tests.browser.test_desk_screens import step, submitted

PHONE = {"viewport": {"width": 390, "height": 664}, "has_touch": True, "is_mobile": True}


def tab(page: Page, name: str) -> None:
    """Goes to a screen by the bar at the bottom."""
    page.get_by_role("navigation", name="手机导航").get_by_role(
        "link", name=re.compile(rf"^{name}\d*$")
    ).tap()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def card(page: Page, device: str) -> Locator:
    """The case of a device."""
    return page.get_by_role("article", name=device)


@pytest.fixture
def phone(visit: Any) -> Visitor:
    """In the hand of the enterprise's officer."""
    held: Visitor = visit(**PHONE)
    return held


def test_what_was_submitted_comes_back_with_its_reason_and_ends_in_the_history(
    phone: Visitor, town: Town
) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_id = submitted(town, device)
    page = phone.enter("zhang")
    tab(page, "已提交")
    waiting = page.get_by_role("region", name="待复核")
    expect(waiting.get_by_role("article", name=device)).to_contain_text("zhang 提交于")
    step(town, "authority", case_id, "return", note="缺处置后照片")
    returned = page.get_by_role("region", name="退回整改").get_by_role("article", name=device)
    expect(returned).to_contain_text("authority")
    expect(returned).to_contain_text("缺处置后照片")
    expect(returned.get_by_role("button", name="整改并重新提交")).to_be_visible()

    step(town, "zhang", case_id, "submit", cause="阀门泄漏", measures="更换阀门并补拍照片")
    town.read({f"{device}.lel": 3})
    with town.client("supervisor") as client:
        client.post(
            f"/cases/{case_id}/steps",
            json={
                "action": "attach",
                "revision": client.get(f"/cases/{case_id}").json()["revision"],
                "permit": "探头更换",
            },
        )
    step(town, "authority", case_id, "close")
    tab(page, "历史")
    closed = card(page, device)
    expect(closed).to_contain_text("更换阀门并补拍照片")
    page.get_by_role("searchbox").fill("没有这样的措施")
    expect(closed).to_have_count(0)
    expect(page.get_by_text("没有匹配")).to_be_visible()
    page.get_by_role("searchbox").fill("补拍")
    expect(closed).to_be_visible()


def test_a_deputy_is_arranged_on_the_phone(phone: Visitor, town: Town) -> None:
    with town.client("supervisor") as client:
        for name, user, post in (("张工", "zhang", "assignee"), ("李强", None, "superior")):
            contact = {
                "name": name, "user": user, "enterprise": "E1", "post": post,
                "channels": [{"kind": "mail", "address": f"{post}@example.org"}],
            }  # fmt: skip
            client.post("/contacts", json=contact).raise_for_status()
    page = phone.enter("zhang")
    tab(page, "我的")
    own = page.get_by_role("region", name="联系方式")
    expect(own).to_contain_text("责任人")
    expect(own).to_contain_text("红色报警需两个以上渠道")
    own.get_by_role("button", name="给自己发测试通知").tap()
    expect(own.get_by_role("status").first).to_contain_text("正在发送")
    duty = page.get_by_role("region", name="值班与代班")
    duty.get_by_role("button", name="安排代班").tap()
    form = duty.get_by_role("form", name="安排代班")
    expect(form.get_by_label("谁不在")).to_have_value(re.compile(r"\d+"))
    form.get_by_label("谁来代班").select_option(label="李强 · 上级")
    (tomorrow,) = town.ask(
        "SELECT to_char(now() AT TIME ZONE 'Asia/Shanghai' + interval '1 day', "
        "'YYYY-MM-DD\"T\"HH24:MI')"
    )[0]
    form.get_by_label("结束").fill(tomorrow)
    form.get_by_role("button", name="安排代班").tap()
    expect(duty.get_by_role("listitem").first).to_contain_text("李强 代班至")
    assert town.ask("SELECT ends_at > now() + interval '23 hours' FROM stand_in") == [(True,)]
    duty.get_by_role("button", name="结束代班").tap()
    duty.get_by_role("button", name="确定结束代班？").tap()
    expect(duty.get_by_role("list", name="代班安排")).to_have_count(0)
    page.get_by_role("button", name="English").tap()
    expect(page.get_by_role("heading", name="Me", exact=True)).to_be_visible()
