"""The phone of an enterprise: what is to be done, what became of it, and who is on duty."""

import hashlib
import re
import struct
import zlib
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.browser.conftest import Town, Visitor
from tests.browser.test_desk_screens import case_of, step, submitted
from tests.worlds import eventually

NASTY = "<img src=x onerror=owned=1>\u202e\u0645\u0635\u0646\u0639"
"""A name that is markup, and turns the direction of writing round."""
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


def photo(name: str = "IMG_1.png", width: int = 4000, height: int = 3000) -> FilePayload:
    """A whole picture as large as cameras make them."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(range(250)) * (width // 250)) * height, 1)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    return {
        "name": name,
        "mimeType": "image/png",
        "buffer": b"\x89PNG\r\n\x1a\n" + b"".join(parts),
    }


def task(page: Page, device: str) -> Locator:
    """The case of a device, opened from its card."""
    card(page, device).get_by_role("button", name="查看").tap()
    return page.get_by_role("complementary", name="处置任务")


def alarm_signed_by_the_other_side(town: Town) -> tuple[str, str]:
    """Device and case of an orange alarm that waits for the enterprise's signature alone."""
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_id: str = case_of(town, device)["id"]
    step(town, "authority", case_id, "sign")
    return device, case_id


def taken(town: Town, case_id: str) -> list[str]:
    """What people did to a case, in order."""
    with town.client("supervisor") as client:
        steps = client.get(f"/cases/{case_id}").json()["steps"]
    return [one["action"] for one in steps if one["actor_role"] != "system"]


def cut(route: Route) -> None:
    """Nothing that is sent gets through; what is only read does."""
    if route.request.method == "POST":
        route.abort("connectionfailed")
    else:
        route.continue_()


def back(page: Page) -> None:
    """The phone notices that it has a network again; it would look by itself soon."""
    page.evaluate("() => window.dispatchEvent(new Event('online'))")


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


def test_without_network_a_case_is_walked_to_its_report_and_nothing_is_lost(
    phone: Visitor, town: Town
) -> None:
    device, case_id = alarm_signed_by_the_other_side(town)
    page = phone.enter("zhang")
    flow = task(page, device)
    expect(flow.get_by_role("button", name="签收")).to_be_visible()
    phone.context.set_offline(True)
    flow.get_by_role("button", name="签收").tap()
    expect(flow.get_by_test_id("kept")).to_contain_text("已存手机，等待发送（1）")
    verify = flow.get_by_role("form", name="核实")
    verify.get_by_role("button", name="属实").tap()
    verify.get_by_role("button", name="确定核实").tap()
    expect(verify.get_by_role("alert")).to_have_text("请填写：现在的情况")
    verify.get_by_role("button", name="更严重").tap()
    verify.get_by_role("button", name="已撤离").tap()
    verify.get_by_label("说明").fill("法兰处有气味")
    verify.get_by_role("button", name="确定核实").tap()
    flow.get_by_role("button", name="开始处置").tap()
    report = flow.get_by_role("form", name="处置报告")
    expect(report.get_by_test_id("lacking")).to_have_text("还缺：原因、处置措施、处置后照片")
    report.get_by_role("button", name="关闭阀门").tap()
    report.get_by_role("button", name="开启通风").tap()
    expect(report.get_by_label("处置措施")).to_have_value(
        re.compile(r"^\d\d:\d\d 关闭阀门\n\d\d:\d\d 开启通风$")
    )
    report.get_by_label("原因").fill("垫片老化")
    flow.get_by_label("相册 / PDF").set_input_files([photo()])
    expect(report.get_by_test_id("lacking")).to_have_count(0)
    report.get_by_role("button", name="提交复核").tap()
    expect(flow.get_by_test_id("kept")).to_contain_text("已存手机，等待发送（5）")
    assert taken(town, case_id) == ["sign"]

    phone.context.route("**/api/v1/cases/**", cut)
    phone.context.set_offline(False)
    page.reload()
    expect(page.get_by_test_id("outbox")).to_contain_text("已存手机，等待发送（5）")
    phone.context.unroute("**/api/v1/cases/**")
    back(page)
    expect(page.get_by_test_id("outbox")).to_have_count(0)
    # In the order in which they were meant; each once.
    steps = ["sign", "sign", "verify", "handle", "attach", "submit"]
    assert taken(town, case_id) == steps
    ((size, kind, name),) = town.ask(
        "SELECT size_bytes, media_type, file_name FROM evidence WHERE case_id = %s", case_id
    )
    assert (kind, name) == ("image/jpeg", "IMG_1.jpg")
    assert size < 1_000_000
    with town.client("supervisor") as client:
        case = client.get(f"/cases/{case_id}").json()
    assert (case["stage"], case["cause"], case["verdict"]) == ("submitted", "垫片老化", "real")
    (verified,) = [one["note"] for one in case["steps"] if one["action"] == "verify"]
    assert verified == "更严重；已撤离；法兰处有气味"


def test_a_step_whose_answer_was_lost_counts_once(phone: Visitor, town: Town) -> None:
    device, case_id = alarm_signed_by_the_other_side(town)
    page = phone.enter("zhang")

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    page.route("**/steps", lose, times=1)
    card(page, device).get_by_role("button", name="签收").tap()
    expect(card(page, device)).to_contain_text("已存手机")
    eventually(lambda: taken(town, case_id) == ["sign", "sign"], "the signature has arrived")
    back(page)
    expect(page.get_by_test_id("outbox")).to_have_count(0)
    expect(card(page, device).get_by_role("button", name="核实")).to_be_visible()
    assert taken(town, case_id) == ["sign", "sign"]


def test_photos_are_sent_one_by_one_and_a_cut_costs_none(phone: Visitor, town: Town) -> None:
    device, case_id = alarm_signed_by_the_other_side(town)
    step(town, "zhang", case_id, "sign")
    page = phone.enter("zhang")
    flow = task(page, device)
    sent = 0

    def cut_after_the_first(route: Route) -> None:
        nonlocal sent
        sent += 1
        if sent == 1:
            route.continue_()
        else:
            route.abort("connectionreset")

    page.route("**/evidence", cut_after_the_first)
    names = [f"IMG_{n}.png" for n in range(3)]
    flow.get_by_label("相册 / PDF").set_input_files([photo(name, 500, 400) for name in names])
    proof = flow.get_by_role("region", name="证据")
    expect(proof).to_contain_text("服务器收到")
    expect(proof.get_by_role("img")).to_have_count(2)
    page.unroute("**/evidence")
    back(page)
    expect(proof.get_by_role("img")).to_have_count(0)
    kept = town.ask("SELECT file_name FROM evidence WHERE case_id = %s ORDER BY 1", case_id)
    assert kept == [("IMG_0.jpg",), ("IMG_1.jpg",), ("IMG_2.jpg",)]
    flow.get_by_label("相册 / PDF").set_input_files(
        [{"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"}]
    )
    huge = b"%PDF-1.7\n" + bytes(21 * 1024 * 1024)
    flow.get_by_label("相册 / PDF").set_input_files(
        [{"name": "huge.pdf", "mimeType": "application/pdf", "buffer": huge}]
    )
    expect(page.get_by_text("huge.pdf: 文件太大")).to_be_visible()
    refused = flow.get_by_role("alert", name="上传证据未能送达")
    expect(refused).to_contain_text("只接受 JPEG、PNG、WebP 图片或 PDF")
    refused.get_by_role("button", name="放弃这一项").tap()
    refused.get_by_role("button", name="确定放弃这一项？").tap()
    expect(refused).to_have_count(0)


def test_who_was_overtaken_sees_by_whom_and_keeps_every_word(phone: Visitor, town: Town) -> None:
    device, case_id = alarm_signed_by_the_other_side(town)
    step(town, "zhang", case_id, "sign")
    page = phone.enter("zhang")
    flow = task(page, device)
    verify = flow.get_by_role("form", name="核实")
    verify.get_by_role("button", name="检修").tap()
    page.route("**/steps", cut)
    verify.get_by_label("说明").fill("换滤芯时触发")
    verify.get_by_role("button", name="确定核实").tap()
    expect(flow.get_by_test_id("kept")).to_contain_text("换滤芯时触发")
    step(town, "operator", case_id, "verify", verdict="real")
    page.unroute("**/steps")
    back(page)
    stuck = flow.get_by_role("alert", name="核实未能送达")
    expect(stuck).to_contain_text("operator 已核实")
    expect(stuck).to_contain_text("换滤芯时触发")
    page.reload()
    expect(page.get_by_test_id("outbox")).to_contain_text(f"{device}.lel 有一项需要你处理")
    stuck.get_by_role("button", name="放弃这一项").tap()
    stuck.get_by_role("button", name="确定放弃这一项？").tap()
    expect(page.get_by_test_id("outbox")).to_have_count(0)
    expect(flow.get_by_role("button", name="开始处置")).to_be_visible()


def test_a_link_is_opened_and_signed_without_javascript(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.ask("UPDATE device SET name = %s WHERE code = %s RETURNING 1", NASTY, device)
    town.read({f"{device}.lel": 60})
    case_id = case_of(town, device)["id"]
    token = f"token-of-{device}"
    town.ask(
        """WITH person AS (
               INSERT INTO contact (name, user_id, enterprise_id, post)
               SELECT 'zhang', user_id, enterprise_id, 'assignee' FROM user_account
                WHERE username = 'zhang' RETURNING contact_id
           ), message AS (
               INSERT INTO notice_message (contact_id, tier, gathers, planned_at, send_at)
               SELECT contact_id, 3, false, now(), now() FROM person
               RETURNING message_id, contact_id
           )
           INSERT INTO case_link (token_sha256, message_id, contact_id, case_id, created_at,
                                  expires_at)
           SELECT %s, message_id, contact_id, %s, now(), now() + interval '1 hour' FROM message
           RETURNING 1""",
        hashlib.sha256(token.encode()).digest(),
        case_id,
    )
    visitor: Visitor = visit(**PHONE, java_script_enabled=False)
    page = visitor.page()
    for _ in range(2):  # a preview looks first
        page.goto(f"{town.url}/l/{token}")
    expect(page.get_by_text(device).first).to_be_visible()
    expect(page.get_by_text("<img src=x").first).to_be_visible()
    assert taken(town, case_id) == []
    page.get_by_role("button", name="签收").tap()
    expect(page.get_by_role("textbox")).to_be_visible()
    assert taken(town, case_id) == ["sign"]
    page.get_by_role("textbox").fill("在途")
    page.get_by_role("button", name="备注").tap()
    eventually(lambda: taken(town, case_id) == ["sign", "comment"], "the remark has arrived")
    page.goto(f"{town.url}/l/{token}")
    expect(page.get_by_text("链接已失效")).to_be_visible()


def test_script_and_right_to_left_text_in_a_name_stay_text(phone: Visitor, town: Town) -> None:
    device = town.device("GD")
    town.ask("UPDATE device SET name = %s WHERE code = %s RETURNING 1", NASTY, device)
    town.read({f"{device}.lel": 60})
    page = phone.enter("zhang")
    flow = task(page, device)
    expect(flow).to_contain_text("<img src=x")
    name = flow.locator("bdi", has_text="<img src=x").first
    expect(name).to_be_visible()  # what turns the writing round ends with the name
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("() => window.owned") is None
