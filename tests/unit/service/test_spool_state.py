"""How a spool stands is told also where the disk has no room for saying so."""

from pathlib import Path

import pytest

from hazardloop.ingest.spool import Spool
from hazardloop.service import spool_state
from tests.faults.disk import SmallDisk, may_mount


def test_a_full_disk_is_told_of(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("a disk that can be filled is a tmpfs of our own, and we may not mount one")
    spool = Spool(tmp_path / "spool.sqlite", 1 << 20, 0)
    with SmallDisk(tmp_path / "disk", 1) as disk:
        file = disk.path / "spool.json"
        spool_state.publish(spool_state.told(spool, ""), file)
        disk.fill()
        for full, away in [("no room", "it has stopped: a long story"), ("", "")]:
            spool.fill.full = full
            spool_state.publish(spool_state.told(spool, away), file)
            said = spool_state.said_in(file)
            assert said is not None
            assert (said["full"], said["away"]) == (full, away)
