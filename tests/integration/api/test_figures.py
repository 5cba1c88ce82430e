"""Figures over the api, as they are asked wrongly."""

import re
from datetime import UTC, datetime

from hazardloop.service.api.paging import encode_cursor
from tests.integration.api.world import World


async def test_the_cursor_of_another_list_gives_no_members(api: World) -> None:
    auditor = await api.client("auditor")
    asked = {"figure": "raised", "from": "2026-11-22T00:00:00Z", "to": "2026-11-23T00:00:00Z"}
    assert (await auditor.get("/kpi/members", params=asked)).json()["total"] == 0
    for key in (("x",), (datetime(2026, 11, 22, tzinfo=UTC), "x"), (1,)):
        stray = await auditor.get("/kpi/members", params=asked | {"cursor": encode_cursor(key)})
        assert (stray.status_code, stray.json()["code"]) == (400, "bad_request"), key


async def test_a_formula_is_told_in_the_language_that_is_read(api: World) -> None:
    client = await api.client("operator")
    for name in ("handling", "response", "alarm-system", "connectivity"):
        english = (await client.get(f"/kpi/{name}")).json()["formula"]
        chinese = await client.get(f"/kpi/{name}", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
        written = [bool(re.search("[\u4e00-\u9fff]", text)) for text in (english, chinese.text)]
        assert written == [False, True], name
