"""Screens of lists kept over time: hazards, drills, refused messages, gateways, the ledger."""

from typing import Any

from playwright.sync_api import expect

from tests import worlds
from tests.browser.conftest import Town
from tests.browser.test_desk_screens import case_of, show, step
from tests.worlds import eventually


def test_a_hazard_is_entered_settled_and_rectified(visit: Any, town: Town) -> None:
    page = visit().enter("zhang")
    show(page, "隐患")
    expect(page.get_by_test_id("empty")).to_have_text("没有这类隐患")
    page.get_by_role("button", name="登记隐患").first.click()
    form = page.get_by_role("form", name="登记隐患")
    form.get_by_role("button", name="登记隐患").click()
    expect(form.get_by_role("alert")).to_have_text("请填写：隐患")
    form.get_by_label("隐患").fill("3号罐区防火堤破损")
    form.get_by_label("等级").select_option("重大隐患")
    form.get_by_role("button", name="登记隐患").click()
    panel = page.get_by_role("complementary", name="隐患详情")
    panel.get_by_role("button", name="登记", exact=True).click()
    panel.get_by_role("button", name="确定登记").click()
    panel.get_by_role("button", name="开始整改", exact=True).click()
    rectify = panel.get_by_role("form", name="开始整改")
    rectify.get_by_label("责任人").fill("张三")
    page.reload()  # what was typed is kept
    panel.get_by_role("button", name="开始整改", exact=True).click()
    expect(rectify.get_by_label("责任人")).to_have_value("张三")
    for label in ("处置措施", "资金", "应急预案"):
        rectify.get_by_label(label).fill("已定")
    rectify.get_by_label("完成时限").fill("2026-12-31")
    panel.get_by_role("button", name="确定开始整改").click()
    expect(page.get_by_role("row").filter(has_text="防火堤")).to_contain_text("整改中")
    assert town.ask("SELECT station, responsible FROM hazard") == [("rectifying", "张三")]


def test_a_drill_is_announced_and_called_off(visit: Any, town: Town) -> None:
    page = visit().enter("supervisor")
    show(page, "演练与测试")
    page.get_by_role("button", name="事先声明").first.click()
    form = page.get_by_role("form", name="事先声明")
    form.get_by_label("名称").fill("1号罐区泄漏演练")
    form.get_by_label("设备").fill("E1:GD-1，E1:GD-2")
    form.get_by_role("button", name="事先声明").click()
    line = page.get_by_role("row").filter(has_text="1号罐区泄漏演练")
    expect(line).to_contain_text("已声明")
    line.get_by_role("button", name="取消", exact=True).click()
    line.get_by_role("button", name="确定取消？").click()
    expect(line).to_contain_text("已取消")


def test_a_refused_message_is_shown_with_its_reason(visit: Any, town: Town) -> None:
    town.publisher.publish("hl/v1/E1/G1/telemetry", b"{broken", qos=1).wait_for_publish(30)
    eventually(lambda: bool(town.ask("SELECT 1 FROM dead_letter")), "it is set aside")
    page = visit().enter("operator")
    show(page, "数据接入")
    line = page.locator("[data-letter]")
    expect(line).to_contain_text("不是 JSON")
    expect(line).to_contain_text("{broken")
    page.get_by_label("原因").select_option("过旧")
    expect(page.get_by_text("没有被拒收的消息")).to_be_visible()


def test_a_new_secret_of_a_gateway_is_seen_once(visit: Any, town: Town) -> None:
    page = visit().enter("supervisor")
    show(page, "企业与设备")
    page.get_by_role("button", name="enterprise E1").click()
    line = page.locator("[data-gateway=G1]")
    before = town.ask("SELECT secret_bcrypt FROM gateway WHERE code = 'G1'")
    line.get_by_role("button", name="更换密钥", exact=True).click()
    line.get_by_role("button", name="确定更换密钥？").click()
    dialog = page.get_by_role("dialog", name="网关 G1 的新密钥")
    secret = dialog.get_by_test_id("secret").inner_text()
    assert len(secret) >= 16
    dialog.get_by_role("button", name="已记下").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("body")).not_to_contain_text(secret)
    assert town.ask("SELECT secret_bcrypt FROM gateway WHERE code = 'G1'") != before


def test_the_ledger_shows_who_did_what(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    step(town, "zhang", case_of(town, device)["id"], "comment", note="已到现场")
    with worlds.process("clerk", town.home / "clerk", database_url=town.database):
        chained = """SELECT 1 FROM ledger JOIN ledger_chain USING (entry_id)
                      WHERE note = '已到现场'"""
        eventually(lambda: town.ask(chained), "the clerk has chained it")
    page = visit().enter("supervisor")
    show(page, "审计台账")
    page.get_by_label("人员").fill("zhang")
    page.get_by_label("人员").press("Enter")
    expect(page.get_by_role("row").filter(has_text="已到现场")).to_contain_text("备注")
    page.get_by_label("人员").fill("nobody")
    page.get_by_label("人员").press("Enter")
    expect(page.get_by_test_id("empty")).to_have_text("该时段没有记录")
