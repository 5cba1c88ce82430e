"""What the roles of the service can do to the ledger: add to it, read it, and nothing else."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from hazardloop.alarms import disposal
from hazardloop.alarms.alarm import Action, Step
from hazardloop.service import checkpoints, clerk, cli, database, ledger, ledger_watch
from hazardloop.service.database_roles import SERVICE, power_over_ledger
from hazardloop.service.settings import Settings
from tests.cases import OFFICER, found_district, open_case

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


@pytest.fixture
def served(database_at_work: str) -> str:
    """Conninfo of the service in a database where a case is open."""
    return make_conninfo(database_at_work, user=SERVICE, password="of-the-service")


@pytest.fixture
def database_at_work(database: str) -> str:
    """Conninfo of the owner of a database where a case is open and the service may log in."""

    async def furnish() -> None:
        await migrate_for_service(database)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as owner:
            await found_district(owner)
            await open_case(owner)

    asyncio.run(furnish())
    return database


async def migrate_for_service(conninfo: str) -> None:
    await database.migrate(
        conninfo, make_conninfo(conninfo, user=SERVICE, password="of-the-service")
    )


FORBIDDEN = [
    f"{statement.format(table)}"
    for table in ("ledger", "ledger_chain", "ledger_checkpoint")
    for statement in (
        "DELETE FROM {}",
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "DROP TRIGGER append_only ON {}",
        "DROP TABLE {}",
        "ALTER TABLE {} OWNER TO CURRENT_USER",
    )
] + [
    "UPDATE ledger SET actor = 'x'",
    "UPDATE ledger_chain SET hash = hash",
    "UPDATE ledger_checkpoint SET position = 1",
    "INSERT INTO ledger_chain SELECT position + 1000, entry_id + 1000, hash FROM ledger_chain",
    "SELECT append_to_chain('{1}')",
    "INSERT INTO ledger_unchained (entry_ids) VALUES ('{1}')",
    "CREATE OR REPLACE FUNCTION chain_at_commit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "DELETE FROM alarm",
    "ALTER TABLE alarm DISABLE TRIGGER USER",
    "SET session_replication_role = replica",
]


def test_no_role_of_the_service_can_rewrite_the_ledger(database_at_work: str, served: str) -> None:
    for conninfo, role in (
        (served, SERVICE), (served, "hazardloop_api"), (database_at_work, "hazardloop_auditor")
    ):  # fmt: skip
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute(f"SET ROLE {role}")
            for statement in FORBIDDEN:
                with pytest.raises(errors.InsufficientPrivilege):
                    conn.execute(statement)
    assert asyncio.run(power(served)) == (SERVICE, None)
    assert asyncio.run(power(database_at_work))[1] == "it owns the ledger"


async def power(conninfo: str) -> tuple[str, str | None]:
    async with await database.connect(conninfo, "test") as conn:
        return await power_over_ledger(conn)


def test_the_service_does_its_work_without_owning_anything(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A step of a case, chores, sums, a checkpoint; then the auditor verifies from the outside."""
    settings = Settings(home=tmp_path, database_url=served)

    async def work() -> None:
        async with await database.connect(served, "test") as conn:
            found = await conn.execute("SELECT case_id, revision FROM disposal_case")
            ((case_id, revision),) = await found.fetchall()
            await disposal.take_step(conn, case_id, Step(Action.SIGN, OFFICER, revision, NOW))
            assert await clerk.do_chores(conn, settings)
            await clerk.tend_readings(conn, settings)
            await clerk.rollups.roll(conn)
            await ledger_watch.note_settings(conn, settings, NOW)
            await ledger_watch.note_settings(conn, settings, NOW)
        assert await ledger_watch.checkpoint(settings)
        assert await ledger_watch.checkpoint(settings)

    asyncio.run(work())
    anchored, between = checkpoints.kept(settings)
    assert anchored.day is not None
    assert between.day is None
    assert anchored.is_genuine
    assert between.position == anchored.position
    assert (tmp_path / "secrets" / "ledger-key").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("HAZARDLOOP_DATABASE_URL", served)
    assert cli.main(["ledger", "verify", "--home", str(tmp_path)]) == 0
    assert "the ledger is whole" in capsys.readouterr().out
    file = str(tmp_path / "ledger.copy")
    assert cli.main(["ledger", "export", file, "--home", str(tmp_path)]) == 0
    assert cli.main(["ledger", "verify", "--file", file, "--home", str(tmp_path)]) == 0


def test_an_export_that_was_changed_or_cut_is_noticed(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, file = Settings(home=tmp_path, database_url=served), tmp_path / "ledger.copy"
    ledger.export(settings, file)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"alarm", b"alarn", 1))
    (finding,) = ledger.verify_file(file, [], None).findings
    assert "expected hash" in finding
    file.write_bytes(whole[:-40])
    with pytest.raises(database.DatabaseAbsent.__base__, match="it was cut after position"):
        ledger.verify_file(file, [], None)
    capsys.readouterr()


def test_many_writers_make_one_chain(database_at_work: str, served: str) -> None:
    """What one takes back is not in it; it has no gap, and nobody waits for ever."""
    writers, each = 8, 15

    def write(number: int) -> None:
        with psycopg.connect(served, autocommit=True) as conn:
            for nth in range(each):
                with conn.transaction():
                    for part in range(3):
                        conn.execute(
                            "INSERT INTO ledger (subject, subject_id, action, actor, actor_role,"
                            " taken_at) VALUES ('shift', %s, 'made', 'w', 'operator', now())",
                            [f"{number}.{nth}.{part}"],
                        )
                    if nth % 3 == 0:
                        raise psycopg.Rollback

    threads = [Thread(target=write, args=[number]) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with psycopg.connect(database_at_work) as conn:
        assert ledger.verify(conn, [], None, lambda _: None).findings == []
        (kept,) = conn.execute("SELECT count(*) FROM ledger WHERE subject = 'shift'").fetchone()
        (unchained,) = conn.execute("SELECT count(*) FROM ledger_unchained").fetchone()
    assert (kept, unchained) == (writers * (each - each // 3) * 3, 0)
