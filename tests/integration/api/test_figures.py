"""Figures over the api, as they are asked wrongly."""

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
