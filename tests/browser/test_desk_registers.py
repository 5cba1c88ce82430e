"""Screens of lists kept over time: hazards, drills, refused messages, gateways, the ledger."""

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import expect

from tests import worlds
from tests.browser.conftest import Town
from tests.browser.test_console import detail, row
from tests.browser.test_desk_screens import case_of, show, step
from tests.worlds import eventually

LEL: Final = "gas_detector.lel.high"


@contextmanager
def clerk(town: Town) -> Iterator[None]:
    """Somebody does what is to be done in the background."""
    with worlds.process("clerk", town.home / "clerk", database_url=town.database):
        yield


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


def test_an_enterprise_a_gateway_and_a_device_are_registered_and_a_point_shows_its_limits(
    visit: Any, town: Town
) -> None:
    page = visit().enter("supervisor")
    show(page, "企业与设备")
    page.get_by_role("button", name="登记企业").first.click()
    form = page.get_by_role("form", name="登记企业")
    form.get_by_label("编码").fill("E9")
    form.get_by_label("名称").fill("新港储运")
    form.get_by_role("button", name="登记企业").click()
    panel = page.get_by_role("complementary", name="E9")
    panel.get_by_role("button", name="添加网关").click()
    form = panel.get_by_role("form", name="添加网关")
    form.get_by_label("编码").fill("G9")
    form.get_by_role("button", name="添加网关").click()
    page.get_by_role("dialog").get_by_role("button", name="已记下").click()
    panel.get_by_role("button", name="登记设备").click()
    form = panel.get_by_role("form", name="登记设备")
    form.get_by_label("编码（").fill("TK-9")
    form.get_by_label("设备类型").select_option("tank")
    form.get_by_label("属性").fill("height_m=10\n没有等号")
    form.get_by_role("button", name="登记设备").click()
    expect(form.get_by_role("alert")).to_contain_text("没有等号")
    form.get_by_label("属性").fill("height_m=10")
    form.get_by_role("button", name="登记设备").click()
    panel.get_by_role("button", name="TK-9", exact=True).click()
    panel.get_by_role("button", name="TK-9.level 趋势与限值").click()
    point = panel.get_by_role("region", name="TK-9.level", exact=True)
    expect(point).to_contain_text("height_m 10")
    point.get_by_role("button", name="7 天").click()
    expect(point).to_contain_text("该时段没有数据")
    assert town.ask("SELECT tags FROM device WHERE code = 'TK-9'") == [({"height_m": 10},)]


def test_a_contact_gets_channels_and_a_watch_is_planned(visit: Any, town: Town) -> None:
    page = visit().enter("supervisor")
    show(page, "联系人")
    page.get_by_role("button", name="添加联系人").first.click()
    form = page.get_by_role("form", name="添加联系人")
    form.get_by_label("姓名").fill("王芳")
    form.get_by_label("企业编码").fill("E1")
    form.get_by_role("button", name="添加联系人").click()
    page.get_by_role("button", name="王芳").click()
    panel = page.get_by_role("complementary", name="王芳")
    for kind, label, value in (
        ("sms", "手机号码", "13812345678"),
        ("mail", "邮箱地址", "wf@example.org"),
    ):
        panel.get_by_label("添加渠道").first.select_option(kind)
        form = panel.get_by_role("form", name="添加渠道")
        form.get_by_label(label).fill(value)
        form.get_by_role("button", name="添加渠道").click()
        expect(panel.locator(f"[data-channel={kind}]")).to_be_visible()
    expect(panel).not_to_contain_text("红色报警需两个以上渠道")
    panel.get_by_role("button", name="排到最前").click()
    expect(panel.locator("[data-channel]").first).to_contain_text("邮件")
    panel.get_by_role("button", name="关闭").click()
    page.get_by_role("button", name="排班").first.click()
    form = page.get_by_role("form", name="排班")
    form.get_by_label("班次名称").fill("夜班")
    ahead = "SELECT ((now() AT TIME ZONE 'Asia/Shanghai')::date + %s)::text"
    first, last = (town.ask(ahead, days)[0][0] for days in (30, 31))
    form.get_by_label("开始").fill(f"{first}T20:00")
    form.get_by_label("结束").fill(f"{last}T08:00")
    form.get_by_label("值班长").fill("supervisor")
    form.get_by_label("监控员").fill("operator")
    form.get_by_role("button", name="排班").click()
    expect(page.locator("[data-watch=夜班]")).to_contain_text("监控员 operator")
    planned = "SELECT starts_at = %s::timestamptz FROM shift WHERE name = '夜班'"
    assert town.ask(planned, f"{first} 20:00+08") == [(True,)]


def test_the_ledger_shows_who_did_what(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    step(town, "zhang", case_of(town, device)["id"], "comment", note="已到现场")
    with clerk(town):
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


def test_the_journal_is_filtered_kept_by_name_and_given_as_a_file(
    visit: Any, town: Town, tmp_path: Path
) -> None:
    yellow, orange = town.device("GD"), town.device("GD")
    town.read({f"{yellow}.lel": 30, f"{orange}.lel": 60})
    alarm = case_of(town, orange)["alarm_id"]
    page = visit().enter("supervisor")
    show(page, "历史报警")
    expect(page.get_by_test_id("bounds")).to_have_text(
        re.compile(r"\d{4}-\d\d-\d\d 00:00 – 现在（北京时间）")
    )
    table = page.get_by_role("region", name="历史报警")
    expect(table).to_contain_text(yellow)
    page.get_by_role("button", name="橙", exact=True).click()
    expect(table).to_contain_text(orange)
    expect(table).not_to_contain_text(yellow)
    page.get_by_label("设备或测点").fill(f"{orange}.lel")
    page.get_by_label("设备或测点").press("Enter")
    page.get_by_label("查询名称").fill("本周橙色")
    page.get_by_role("button", name="保存查询").click()
    page.reload()  # the query is in the address
    expect(table.locator("[data-alarm]")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("link", name="导出 CSV").click()
    kept = tmp_path / "alarms.csv"
    download.value.save_as(kept)
    (sentence, *_), _, line = csv.reader(kept.read_text("utf-8-sig").splitlines())
    assert f"级别 橙, 测点 {orange}.lel" in sentence
    assert line[-1] == alarm
    page.get_by_role("button", name="清除筛选").click()
    expect(table).to_contain_text(yellow)
    page.get_by_role("button", name="本周橙色", exact=True).click()
    table.locator(f"[data-alarm='{alarm}']").get_by_role("button").click()
    expect(detail(page)).to_contain_text(orange)
    page.goto(f"{town.url}/?page=journal&item=span%3Down%26first%3D2020-01-01%26last%3D2020-01-02")
    expect(page.get_by_test_id("empty")).to_have_text("该时段无报警")
    expect(page.get_by_test_id("bounds")).to_have_text(
        "2020-01-01 00:00 – 2020-01-02 24:00（北京时间）"
    )


def test_a_report_is_asked_for_made_and_traced_to_its_alarms(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_of(town, device)
    page = visit().enter("supervisor")
    show(page, "报告")
    page.get_by_role("button", name="生成报告").first.click()
    form = page.get_by_role("form", name="生成报告")
    (today,) = town.ask("SELECT (now() AT TIME ZONE 'Asia/Shanghai')::date::text")[0]
    form.get_by_label("期内任一天").fill(today)
    form.get_by_role("button", name="生成报告").click()
    line = page.locator("[data-report]")
    expect(line).to_contain_text("生成中 0/5")
    with clerk(town):
        expect(page.locator("[data-report][data-state=ready]")).to_contain_text("XLSX 中文")
    with page.expect_download() as download:
        line.get_by_role("link", name="PDF 中文").click()
    assert download.value.suggested_filename.endswith(".pdf")
    line.get_by_role("button", name=today).click()
    panel = page.get_by_role("complementary", name="报告内容")
    raised = panel.locator("[data-figure=raised]")
    (count,) = town.ask("SELECT count(*) FROM alarm WHERE NOT drill")[0]
    expect(raised).to_have_text(f"报警 {count}")
    expect(panel.get_by_role("listitem")).to_have_count(count)


def test_a_flood_shows_groups_its_alarms_and_is_in_the_performance(visit: Any, town: Town) -> None:
    devices = [town.device("GD") for _ in range(10)]
    town.read({f"{device}.lel": 60 if device == devices[0] else 30 for device in devices})
    page = visit().enter("operator")
    expect(row(page, devices[0])).to_be_visible()
    expect(page.get_by_test_id("flood")).to_have_count(0)
    with clerk(town):
        expect(page.get_by_test_id("flood")).to_contain_text("报警泛滥")
    expect(page.get_by_test_id("grouping")).to_contain_text("成组")
    for device in devices[:2]:
        row(page, device).get_by_role("checkbox").click()
    bar = page.get_by_role("region", name="批量操作")
    expect(bar).to_contain_text("泛滥中，红、橙共 1 条须逐条确认")
    bar.get_by_role("button", name="确认 1 条（黄 1）").click()
    expect(row(page, devices[1])).to_contain_text("已派发")
    show(page, "报警绩效")
    expect(page.locator("[data-flood]")).to_contain_text("进行中")
    expect(page.get_by_text("公式： 本期按数据时间发生的报警")).to_be_visible()
    page.get_by_role("button", name="EN", exact=True).click()
    expect(page.get_by_text("Formula: Alarms raised in")).to_be_visible()


def ammonia_store(town: Town, code: str) -> int:
    """Id of a new hazard unit of grade 4 that holds ammonia by design: S = 4.8, R = 9.6."""
    ammonia = {"name": "液氨", "substance": "ammonia", "design_t": 48}
    with town.client("supervisor") as client:
        unit = {"enterprise": "E1", "code": code, "name": "液氨罐区", "grade": 4}
        identity = int(client.post("/hazard-units", json=unit).raise_for_status().json()["id"])
        held = {"revision": 0, "people": 10, "substances": [ammonia]}
        client.put(f"/hazard-units/{identity}/substances", json=held).raise_for_status()
    return identity


def test_a_unit_shows_its_grades_and_says_whether_a_truck_may_unload(
    visit: Any, town: Town
) -> None:
    identity = ammonia_store(town, "HU-A")
    page = visit().enter("supervisor")
    show(page, "危险源级别与风险")
    line = page.locator("[data-unit=HU-A]")
    expect(line).to_contain_text("四级")
    expect(line).to_contain_text("9.6")
    expect(line).to_contain_text("蓝 · 低风险")
    line.get_by_role("button").click()
    expect(page).to_have_url(re.compile(f"item={identity}"))
    panel = page.get_by_role("complementary", name="危险源单元")
    expect(panel).to_contain_text("R = 1 × (2 × 48/10) = 9.6")
    form = panel.get_by_role("form", name="卸车推演")
    form.get_by_label("增加").fill("5")
    form.get_by_role("button", name="可以吗？").click()
    answer = panel.get_by_test_id("what-if")
    expect(answer).to_contain_text("不可以")
    expect(answer).to_contain_text("超过备案级别：R 10.6（限 10）")
    form.get_by_label("增加").fill("-5")
    form.get_by_role("button", name="可以吗？").click()
    expect(answer).to_contain_text("R = 8.6")


PLAN = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400">
<g fill="none" stroke="#7b8794" stroke-width="2"><rect x="10" y="10" width="580" height="380"/>
<circle cx="150" cy="130" r="60"/><circle cx="320" cy="130" r="60"/>
<path d="M10 260H590M420 260V390"/></g>
<g fill="#52606d" font-size="18" text-anchor="middle"><text x="150" y="220">1号罐区</text>
<text x="320" y="220">2号罐区</text><text x="210" y="335">装卸台</text>
<text x="505" y="335">仓储</text></g></svg>"""


def drawn_plan(town: Town, name: str, **places: tuple[float, float]) -> None:
    """A plan of E1: its first devices in a row, those named (`GD_1`) where they are said."""
    with town.client("supervisor") as client:
        body = {"enterprise": "E1", "name": name, "drawing": PLAN}
        plan = client.post("/plans", json=body).raise_for_status().json()["id"]
        devices = client.get(f"/plans/{plan}/devices").raise_for_status().json()
        for nth, one in enumerate(devices[:20]):
            x, y = places.get(one["code"].replace("-", "_"), (40 + nth * 27, 280))
            spot = {"x": x, "y": y}
            client.put(f"/plans/{plan}/devices/{one['id']}", json=spot).raise_for_status()


def test_a_plan_is_uploaded_devices_are_placed_and_a_mark_opens_its_alarm(
    visit: Any, town: Town
) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_of(town, device)
    page = visit().enter("supervisor")
    show(page, "一张图")
    expect(page.get_by_test_id("empty")).to_contain_text("还没有平面图")
    page.get_by_role("button", name="新增平面图").first.click()
    form = page.get_by_role("form", name="新增平面图")
    form.get_by_label("企业").select_option("E1")
    form.get_by_label("名称").fill("厂区")

    def send(drawing: str) -> None:
        file = {"name": "a.svg", "mimeType": "image/svg+xml", "buffer": drawing.encode()}
        form.get_by_label("图纸文件").set_input_files(file)  # type: ignore[arg-type]
        form.get_by_role("button", name="新增平面图").click()

    send(PLAN.replace("<g ", "<script>alert(1)</script><g ", 1))
    expect(form.get_by_role("alert")).to_contain_text("script")
    send(PLAN)
    listed = page.get_by_role("region", name="图上报警")
    expect(listed).to_contain_text(f"{device}.lel")
    expect(listed.locator("li").filter(has_text=device)).to_contain_text("未定位")

    page.get_by_role("button", name="编辑位置").click()
    places = page.get_by_role("form", name="编辑位置")
    places.get_by_label("设备").select_option(label=device)
    places.get_by_label("x").fill("150")
    places.get_by_label("y").fill("130")
    places.get_by_role("button", name="放置").click()
    handle = page.locator(".plan-mover")
    expect(handle).to_be_visible()
    box = handle.bounding_box()
    assert box
    (x, y) = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=4)
    page.mouse.up()

    def moved() -> bool:
        ((at_x, at_y),) = town.ask("SELECT x, y FROM plan_anchor")
        return bool(at_x > 151 and at_y > 131)

    eventually(moved, "the device stands where it was dragged to")
    page.get_by_role("button", name="编辑位置").click()
    mark = page.locator(".plan").get_by_role("button", name=re.compile(f"橙·较大 {device}"))
    mark.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="报警详情")).to_contain_text(device)


def test_the_stream_inspector_shows_what_came_and_comes_back_after_a_cut(
    visit: Any, town: Town
) -> None:
    visitor = visit()
    visitor.context.clock.install()
    page = visitor.enter("tester")
    show(page, "流检查器")
    lines = page.get_by_role("region", name="流检查器")
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    expect(lines.get_by_role("row", name=f"{device}.lel v1").first).to_contain_text("alarms")
    expect(page.get_by_test_id("stream-sums")).to_contain_text(re.compile(r"缺号\s*0"))
    page.get_by_role("button", name="断链 30 秒").click()
    expect(page.get_by_test_id("cut")).to_contain_text("秒后重连")
    expect(page.locator("[data-link=connecting]")).to_be_visible()
    page.clock.fast_forward(31_000)
    expect(page.locator("[data-link=ok]")).to_be_visible()
    later = town.device("GD")
    town.read({f"{later}.lel": 60})
    expect(lines.get_by_role("row", name=f"{later}.lel v1").first).to_be_visible()


def test_a_tester_sees_what_a_fleet_had_to_raise_and_what_was_raised(
    visit: Any, town: Town
) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    case_of(town, device)
    ((raised,),) = town.ask(
        "SELECT raised_at FROM alarm JOIN device USING (device_id) WHERE code = %s", device
    )
    common = {
        "incident": "1", "hazard": "gas_leak", "enterprise": "E1", "gateway": "G1",
        "rule": "gas_detector.lel.high", "tier": "orange", "earliest": raised.isoformat(),
        "latest": raised.isoformat(), "cleared_from": raised.isoformat(),
    }  # fmt: skip
    lines = [common | {"point": f"{device}.lel"}, common | {"point": "GD-99.lel"}]
    folder = town.home / "simulate"
    folder.mkdir(exist_ok=True)
    (folder / "counts.json").write_text(json.dumps({"epoch": raised.isoformat(), "connected": 1}))
    (folder / "truth.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    page = visit().enter("tester")
    show(page, "仿真与测试报告")
    expect(page.get_by_text("未启用仿真")).to_be_visible()
    found = page.get_by_role("region", name="应报与实报")
    expect(found.get_by_role("row", name=f"{device}.lel")).to_contain_text("✓ 已报")
    expect(found.get_by_role("row", name="GD-99.lel")).to_contain_text(re.compile("漏报|等待"))
    expect(page.get_by_test_id("report")).to_contain_text("延迟中位数")


def test_a_rule_is_drafted_and_tried_by_one_and_approved_by_another(visit: Any, town: Town) -> None:
    town.read({f"{town.device('GD')}.lel": 30})
    page = visit().enter("supervisor")
    show(page, "报警规则")
    page.get_by_label("设备类型").select_option("gas_detector")
    page.locator(f"[data-rule='{LEL}']").get_by_role("button").click()
    panel = page.get_by_role("complementary", name="规则详情")
    panel.get_by_role("button", name="修改规则").click()
    form = panel.get_by_role("form", name="修改规则")
    form.get_by_label("修改理由").fill("罐区改造后上调")
    form.get_by_label("上限 · 黄").fill("8000")
    form.get_by_role("button", name="提交草案").click()
    expect(form.get_by_role("alert")).to_contain_text("limits must rise from blue to red")
    form.get_by_label("上限 · 黄").fill("26")
    expect(form.get_by_label("规则全文")).to_have_value(re.compile('"yellow": 26'))
    expect(form.locator("[data-part='high.yellow']")).to_have_text(re.compile(r"high\.yellow\s*25\s*26"))
    with clerk(town):
        form.get_by_role("button", name="开始试算").click()
        expect(form.get_by_test_id("would")).to_have_text(re.compile(r"将产生 \d+ 条，现 \d+ 条"))
    expect(form.locator("[data-load=missed_true_events]")).to_be_visible()
    form.get_by_label("修改理由").press("Control+s")
    card = panel.locator("[data-draft]")
    expect(card).to_contain_text("自己的草案须由他人批准")
    expect(card.get_by_role("button", name="批准")).to_have_count(0)
    expect(card.get_by_role("button", name="撤回")).to_be_visible()

    page = visit().enter("admin")
    show(page, "报警规则")
    page.get_by_role("button", name="待决定").click()
    page.locator("[data-rule]").get_by_role("button").click()
    panel = page.get_by_role("complementary", name="规则详情")
    card = panel.locator("[data-draft]")
    expect(card).to_contain_text("罐区改造后上调")
    card.get_by_role("button", name="批准", exact=True).click()
    form = card.get_by_role("form", name="批准")
    form.get_by_label("说明").fill("已核对设计文件")
    form.get_by_role("button", name="确定批准").click()
    expect(page.get_by_test_id("empty")).to_contain_text("没有待批草案")
    expect(panel.locator("[data-version='2']")).to_contain_text("supervisor / admin")
    versions = panel.get_by_role("region", name="版本")
    expect(versions.locator("[data-part='high.yellow']")).to_contain_text("26")
    kept = "SELECT body #>> '{high,yellow}', origin FROM rule_version WHERE rule_id = %s"
    assert ("26", "api") in town.ask(kept, LEL)
