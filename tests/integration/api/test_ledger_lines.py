"""The ledger over the API: everybody reads what concerns them, anchors are there to be kept."""

from pathlib import Path

from hazardloop.alarms.ledger import Checkpoint
from hazardloop.service import ledger_watch
from hazardloop.service.settings import Settings
from tests.integration.api.world import World


async def test_lines_and_anchors_are_read_by_whom_they_concern(
    api: World, database: str, tmp_path: Path
) -> None:
    auditor, ent1 = await api.client("auditor"), await api.client("ent1")
    first = (await auditor.get("/ledger", params={"limit": 3})).json()
    second = (
        await auditor.get("/ledger", params={"limit": 3, "cursor": first["next_cursor"]})
    ).json()
    assert [line["position"] for line in first["items"] + second["items"]] == [1, 2, 3, 4, 5, 6]
    users = (await auditor.get("/ledger", params={"subject": "user", "limit": 1000})).json()
    assert {line["action"] for line in users["items"]} == {"made"}
    assert {line["body"]["password_hash"] for line in users["items"]} == {"secret"}
    own = (await ent1.get("/ledger", params={"subject": "enterprise"})).json()["items"]
    assert len(own) == 1
    operator = await api.client("operator")
    assert (await operator.get("/ledger")).status_code == 403
    assert await ledger_watch.checkpoint(Settings(database_url=database, home=tmp_path))
    (anchor,) = (await ent1.get("/ledger/anchors")).json()["items"]
    assert Checkpoint.read(anchor).is_genuine
