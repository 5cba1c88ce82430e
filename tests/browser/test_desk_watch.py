"""What the one at the desk hears, keeps quiet, and reads about the period."""

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Town
from tests.browser.test_console import detail, row
from tests.browser.test_desk_screens import case_of, show
from tests.worlds import eventually


def hearing(page: Page) -> Locator:
    """The sound button of a page that sounds, if need be after a click that lets it."""
    sound = page.get_by_test_id("sound")

    def sounds() -> bool:
        if sound.get_attribute("data-sound") != "on":
            sound.click()
        return sound.get_attribute("data-sound") == "on"

    eventually(sounds, "the page sounds")
    return sound


def test_the_worst_unseen_tier_sounds_and_silence_acknowledges_nothing(
    visit: Any, town: Town
) -> None:
    page = visit().enter("operator")
    sound = hearing(page)
    expect(sound).to_have_attribute("data-tone", "")
    yellow, red = town.device("GD"), town.device("SD")
    town.read({f"{yellow}.lel": 30})
    expect(sound).to_have_attribute("data-tone", "yellow")
    sound.click()
    expect(sound).to_have_attribute("data-sound", "silenced")
    expect(sound).to_have_attribute("data-tone", "")
    expect(row(page, yellow)).to_contain_text("未确认")  # silence is not acknowledgement
    town.read({f"{red}.smoke": True})
    expect(sound).to_have_attribute("data-tone", "red")
    expect(sound).to_have_attribute("data-sound", "on")
    row(page, red).get_by_role("button", name="确认").click()
    expect(sound).to_have_attribute("data-tone", "yellow")
    row(page, red).click()
    wanted = page.get_by_role("region", name="红色报警确认说明")
    expect(wanted).to_contain_text(re.compile(r"(剩 4|超 )"))
    wanted.get_by_role("textbox").fill("已电话核实，保安到场")
    wanted.get_by_role("button", name="补充说明").click()
    expect(wanted).to_have_count(0)
    expect(page.get_by_role("region", name="时间线")).to_contain_text("保安到场")
    page.keyboard.press("Escape")
    row(page, yellow).get_by_role("button", name="确认").click()
    expect(sound).to_have_attribute("data-tone", "")


def test_only_the_window_clicked_last_sounds(visit: Any, town: Town) -> None:
    visitor = visit()
    first = visitor.enter("operator")
    hearing(first)
    second = visitor.page()
    second.goto(town.url)
    quiet = re.compile("blocked|elsewhere")
    expect(second.get_by_test_id("sound")).to_have_attribute("data-sound", quiet)
    hearing(second)
    expect(first.get_by_test_id("sound")).to_have_attribute("data-sound", "elsewhere")
    second.close()
    expect(first.get_by_test_id("sound")).to_have_attribute("data-sound", "on")


def test_an_alarm_is_shelved_with_a_reason_from_its_detail(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 30})
    page = visit().enter("operator")
    row(page, device).click()
    panel = detail(page)
    panel.get_by_role("button", name="搁置", exact=True).click()
    form = panel.get_by_role("form", name="搁置")
    form.get_by_role("button", name="确定搁置").click()
    expect(form.get_by_role("alert")).to_have_text("请填写：原因")
    form.get_by_label("原因").fill("探头受潮抖动")
    form.get_by_label("时长").select_option("15 分钟")
    form.get_by_role("button", name="确定搁置").click()
    expect(panel).to_contain_text("探头受潮抖动")
    expect(row(page, device)).to_contain_text("搁置")
    expect(page.get_by_test_id("badge-holds")).to_have_text("1")


def test_every_figure_opens_the_alarms_it_counts(visit: Any, town: Town) -> None:
    device = town.device("GD")
    town.read({f"{device}.lel": 60})
    alarm = case_of(town, device)["alarm_id"]
    page = visit().enter("supervisor")
    show(page, "处置报表")
    expect(page.get_by_test_id("sentence")).to_contain_text("处置率 0.0 %（0/")
    online = page.get_by_role("region", name="在线率", exact=True)
    expect(online).to_contain_text("有数据设备")
    raised = page.get_by_role("region", name="处置率", exact=True).locator("[data-figure=raised]")
    (count,) = town.ask("SELECT count(*) FROM alarm WHERE NOT drill")[0]
    expect(raised).to_have_text(str(count))
    raised.click()
    members = page.get_by_role("complementary", name="构成")
    expect(members.get_by_role("listitem")).to_have_count(count)
    members.get_by_role("listitem").filter(has_text=alarm[:8]).get_by_role("button").click()
    expect(detail(page)).to_contain_text(device)


STAND_STILL = """() => {
    document.querySelector(".wall-frozen").style.setProperty("--frozen-after", "100ms");
    for (let timer = setTimeout(() => {}); timer > 0; timer -= 1) clearTimeout(timer);
}"""


def test_the_wall_shows_the_state_of_all_and_says_when_it_stands_still(
    visit: Any, town: Town
) -> None:
    device = town.device("SD")
    town.read({f"{device}.smoke": True})
    case_of(town, device)
    page = visit().enter("supervisor")
    show(page, "态势大屏")
    expect(page.get_by_role("banner")).to_have_count(0)  # the frame of a desk is not there
    (reds,) = town.ask(
        "SELECT count(*) FROM alarm JOIN disposal_case USING (alarm_id)"
        " WHERE stage <> 'closed' AND alarm.tier = 4"
    )[0]
    expect(page.get_by_test_id("wall-red").locator("b")).to_have_text(str(reds))
    expect(page.get_by_role("region", name="未确认的红橙报警")).to_contain_text(device)
    expect(page.get_by_test_id("wall-rate")).to_contain_text("0.0 %")
    expect(page.get_by_test_id("wall-path")).to_contain_text("各部分正常")
    frozen = page.get_by_text("页面已停止")
    expect(frozen).to_have_css("opacity", "0")
    page.evaluate(STAND_STILL)
    expect(frozen).to_have_css("opacity", "1")
    page.keyboard.press("Escape")
    expect(page.get_by_role("banner")).to_be_visible()
