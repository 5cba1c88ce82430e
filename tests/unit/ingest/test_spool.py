"""Pieces on disk: kept in order, bounded, and still there after a crash."""

import asyncio
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hazardloop.ingest.errors import SpoolFull
from hazardloop.ingest.spool import ROW_BYTES, Fill, Spool
from hazardloop.ingest.spool_file import ASIDES, WORKS, New, Standing
from tests import worlds

LIMIT = 1 << 20


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool(tmp_path / "spool.sqlite", LIMIT, 0)
    await opened.open()
    yield opened
    await opened.close()


def work(body: bytes, readings: int = 1, **more: object) -> New:
    return New(WORKS, body, readings, **more)  # type: ignore[arg-type]


async def again(spool: Spool) -> Spool:
    """The same file, as the next worker opens it."""
    await spool.close()
    after = Spool(spool.path, LIMIT, 0)
    await after.open()
    return after


async def test_pieces_come_back_in_order_and_as_they_were(spool: Spool) -> None:
    bodies = [os.urandom(n) for n in (1, 5_000, 70_000)]
    for body in bodies:
        await spool.append([work(body, unsure="77")])
    pieces = await spool.head(WORKS, 10, LIMIT)
    assert [piece.body for piece in pieces] == bodies
    assert {piece.unsure for piece in pieces} == {"77"}
    assert [piece.position for piece in pieces] == sorted(piece.position for piece in pieces)


async def test_a_head_is_bounded_and_never_empty_while_there_is_something(spool: Spool) -> None:
    for _ in range(5):
        await spool.append([work(bytes(1_000))])
    assert len(await spool.head(WORKS, 3, LIMIT)) == 3
    assert len(await spool.head(WORKS, 10, 2_500)) == 2
    assert len(await spool.head(WORKS, 10, 1)) == 1
    assert await spool.head(ASIDES, 10, LIMIT) == []


async def test_a_position_is_never_given_twice(spool: Spool) -> None:
    (first,) = await spool.append([work(b"1")])
    await spool.drop(WORKS, first)
    spool = await again(spool)
    (second,) = await spool.append([work(b"2")])
    assert second > first
    await spool.close()


async def test_it_knows_how_full_it_is_also_after_a_restart(spool: Spool) -> None:
    await spool.append([work(bytes(100), 7), New(ASIDES, bytes(50), 2)])
    (third,) = await spool.append([work(bytes(10), 3)])
    expected = spool.fill
    assert (expected.works, expected.asides, expected.readings) == (2, 1, 12)
    assert expected.bytes == 160 + 3 * ROW_BYTES
    ids = [spool.id_of(WORKS), spool.id_of(ASIDES)]
    spool = await again(spool)
    assert spool.fill == expected
    assert [spool.id_of(WORKS), spool.id_of(ASIDES)] == ids
    await spool.drop(WORKS, third)
    assert (spool.fill.works, spool.fill.asides, spool.fill.readings) == (0, 1, 2)
    await spool.drop(ASIDES, 1)
    assert (spool.fill.bytes, spool.fill.oldest_us, spool.share) == (0, None, 0.0)
    await spool.close()


async def test_beyond_its_limit_it_takes_nothing_says_why_and_recovers(spool: Spool) -> None:
    (first,) = await spool.append([work(bytes(LIMIT - 200))])
    with pytest.raises(SpoolFull, match="HAZARDLOOP_SPOOL_BYTES"):
        await spool.append([work(bytes(100)), work(bytes(100))])
    assert spool.share == 1.0
    assert spool.fill.works == 1
    await spool.drop(WORKS, first)
    await spool.append([work(bytes(100)), work(bytes(100))])
    assert (spool.fill.works, spool.fill.full) == (2, "")


async def test_it_leaves_room_on_its_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", LIMIT, 1 << 60)
    await spool.open()
    with pytest.raises(SpoolFull, match="are to stay so"):
        await spool.append([work(b"1")])
    await spool.close()


async def test_a_file_that_is_no_spool_is_put_beside(tmp_path: Path) -> None:
    file = tmp_path / "spool.sqlite"
    file.write_bytes(b"not a database" * 1_000)
    spool = Spool(file, LIMIT, 0)
    await spool.open()
    await spool.append([work(b"1")])
    await spool.close()
    (name,) = {name for name in os.listdir(tmp_path) if "damaged" in name}
    beside = tmp_path / name
    assert beside.read_bytes().startswith(b"not a database")


async def test_what_was_not_told_is_found_until_it_is(spool: Spool) -> None:
    await spool.append([work(b"silent")])
    (position,) = await spool.append([work(b"alarm", untold=True)])
    assert [piece.position for piece in await spool.untold(10)] == [position]
    await spool.note_told(position)
    assert await spool.untold(10) == []


async def test_what_is_refused_is_kept_out_of_the_way(spool: Spool) -> None:
    (first,) = await spool.append([work(b"wrong")])
    await spool.append([work(b"right")])
    await spool.refuse(WORKS, first, "why it is wrong")
    assert [piece.body for piece in await spool.head(WORKS, 10, LIMIT)] == [b"right"]
    spool = await again(spool)
    assert (spool.fill.works, spool.fill.refused) == (1, 1)
    await spool.close()


async def test_room_goes_back_to_the_disk_when_it_is_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 64 << 20, 0)
    await spool.open()
    (position,) = await spool.append([work(bytes(20 << 20))])
    assert spool.path.stat().st_size + _wal(spool).stat().st_size > 20 << 20
    await spool.drop(WORKS, position)
    assert spool.path.stat().st_size + _wal(spool).stat().st_size < 1 << 20
    await spool.close()


def _wal(spool: Spool) -> Path:
    return spool.path.with_name(spool.path.name + "-wal")


WRITER = """
import asyncio, sys
from pathlib import Path
from hazardloop.ingest.spool import Spool
from hazardloop.ingest.spool_file import WORKS, New
async def write():
    spool = Spool(Path(sys.argv[1]), 1 << 30, 0)
    await spool.open()
    for n in range(10**9):
        await spool.append([New(WORKS, b"%d" % n + bytes(3_000), 1)])
        print(n, flush=True)
asyncio.run(write())
"""


def test_what_was_taken_survives_a_killed_process(tmp_path: Path) -> None:
    file = tmp_path / "spool.sqlite"
    environment = os.environ | {"PYTHONPATH": str(worlds.REPOSITORY / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        confirmed = [int(writer.stdout.readline()) for _ in range(200)][-1]
        writer.kill()
    numbers = asyncio.run(_numbers(file))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > confirmed


async def _numbers(file: Path) -> list[int]:
    spool = Spool(file, 1 << 30, 0)
    await spool.open()
    pieces = await spool.head(WORKS, 10_000, 1 << 30)
    await spool.close()
    return [int(piece.body.rstrip(b"\0")) for piece in pieces]


async def test_only_one_process_has_it_open(spool: Spool) -> None:
    stranger = sqlite3.connect(spool.path, timeout=0.01)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        stranger.execute("SELECT count(*) FROM works")
    stranger.close()


@contextmanager
def full_disk(spool: Spool) -> Iterator[None]:
    """No file of ours grows beyond what the spool's log has now."""
    most = spool.path.with_name(spool.path.name + "-wal").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_takes_nothing_and_what_leaves_is_gone_nevertheless(spool: Spool) -> None:
    first, second = await spool.append([work(b"1", untold=True), work(b"2", untold=True)])
    with full_disk(spool):
        with pytest.raises(SpoolFull, match="cannot write"):
            await spool.append([work(bytes(10_000))])
        assert "cannot write" in spool.fill.full
        assert spool.share == 1.0
        await spool.note_told(first)
        assert [piece.position for piece in await spool.untold(1)] == [second]
        with pytest.raises(SpoolFull):
            await spool.refuse(WORKS, first, "why")
        await spool.drop(WORKS, first)
        assert [piece.body for piece in await spool.head(WORKS, 10, LIMIT)] == [b"2"]
        assert (spool.fill.works, spool.fill.refused) == (1, 0)
        await spool.drop(WORKS, second)
        assert spool.fill == Fill(full=spool.fill.full)
    await spool.append([work(b"3")])
    assert spool.fill.full == ""
    assert [piece.body for piece in await spool.head(WORKS, 10, LIMIT)] == [b"3"]


async def test_what_a_full_disk_could_not_delete_is_deleted_with_what_follows(spool: Spool) -> None:
    first, second = await spool.append([work(b"1"), work(b"2")])
    with full_disk(spool):
        await spool.drop(WORKS, first)
    await spool.drop(WORKS, second)
    spool = await again(spool)
    assert spool.fill.rows == 0
    await spool.close()


class TestWhatStands:
    """A file beside the queue is good for nothing once a work behind it has left the queue."""

    async def stand(self, spool: Spool) -> tuple[Path, int]:
        (first,) = await spool.append([work(b"1")])
        file = spool.path.parent / "known"
        file.write_text("all of it")
        assert await spool.stand(Standing("known", first), spool.fallen)
        return file, first

    async def test_it_stands_for_the_next_worker_too(self, spool: Spool) -> None:
        _file, first = await self.stand(spool)
        (second,) = await spool.append([work(b"2")])
        spool = await again(spool)
        assert spool.standing == Standing("known", first)
        assert spool.position == second
        behind = await spool.head(WORKS, 10, LIMIT, first)
        assert [piece.body for piece in behind] == [b"2"]
        await spool.close()

    async def test_it_outlives_the_works_before_it(self, spool: Spool) -> None:
        file, first = await self.stand(spool)
        await spool.append([work(b"2")])
        await spool.drop(WORKS, first)
        assert spool.standing is not None
        assert file.exists()

    async def test_it_stands_without_works(self, spool: Spool) -> None:
        file, first = await self.stand(spool)
        await spool.drop(WORKS, first)
        spool = await again(spool)
        assert spool.standing == Standing("known", first)
        assert file.exists()
        assert await spool.stand(Standing("newer", first), spool.fallen)
        assert spool.standing == Standing("newer", first)
        await spool.close()

    async def test_none_stands_that_was_begun_before_something_it_lacks(self, spool: Spool) -> None:
        fallen = spool.fallen
        standing = asyncio.create_task(spool.stand(Standing("early", 0), fallen))
        await asyncio.sleep(0)  # it is on its way
        await spool.fall()
        await standing
        assert spool.standing is None
        assert not await spool.stand(Standing("early", 0), fallen)
        spool = await again(spool)
        assert spool.standing is None
        await spool.close()

    @pytest.mark.parametrize("how", ["dropped", "refused", "recorded beside it"])
    async def test_it_falls_with_what_it_lacks(self, how: str, spool: Spool) -> None:
        file, _first = await self.stand(spool)
        second, _third = await spool.append([work(b"2"), work(b"3")])
        if how == "dropped":
            await spool.drop(WORKS, second)
        elif how == "refused":
            await spool.refuse(WORKS, second, "of no use")
        else:
            await spool.fall()
        assert spool.standing is None
        assert not file.exists()
        spool = await again(spool)
        assert spool.standing is None
        await spool.close()

    async def test_another_takes_its_place(self, spool: Spool) -> None:
        file, _first = await self.stand(spool)
        (second,) = await spool.append([work(b"2")])
        assert await spool.stand(Standing("newer", second), spool.fallen)
        assert spool.standing == Standing("newer", second)
        assert not file.exists()

    async def test_it_cannot_stand_on_works_that_are_gone(self, spool: Spool) -> None:
        first, second = await spool.append([work(b"1"), work(b"2")])
        await spool.drop(WORKS, second)
        assert not await spool.stand(Standing("late", first), spool.fallen)
        await spool.append([work(b"3")])
        assert not await spool.stand(Standing("late", first), spool.fallen)
        assert spool.standing is None
