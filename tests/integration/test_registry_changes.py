"""What changed in the registry is noted by the database, and followed by a worker that runs."""

from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from hazardloop.devices.catalog import shipped_catalog
from hazardloop.devices.registry import Registry
from hazardloop.devices.store import apply_changes, changes_since, load_registry, pages
from hazardloop.service.database import connect
from tests import worlds
from tests.brokers import Broker, mosquitto
from tests.integration.test_pipeline import at_work, gateway_at
from tests.worlds import eventually, query

CATALOG = shipped_catalog()

Follow = Callable[..., Awaitable[tuple[int, int]]]


def facts(registry: Registry) -> object:
    return (
        sorted(registry.points, key=lambda point: point.point_id),
        {
            home: ({code: int(registry.point_id[row]) for code, row in gateway.rows.items()},
                   set(gateway.devices), gateway.dialect, gateway.profile)
            for home, gateway in registry.gateways.items()
        },
        registry.gateway_homes,
        registry.device_homes,
    )  # fmt: skip


@pytest.fixture
def follow(database: str) -> Follow:
    """Runs a statement; how many gateways and devices were noted. What follows is what is there."""
    worlds.register(database)
    worlds.register(database, {"GD-9": "gas_detector"}, enterprise="E2", gateway="G2")

    async def followed(*statements: str) -> tuple[int, int]:
        async with await connect(database, "test") as connection:
            registry = await load_registry(connection, CATALOG)
            with psycopg.connect(database) as other:
                for statement in statements:
                    other.execute(statement)  # type: ignore[arg-type]
            changes = await changes_since(connection, registry.revision)
            for page in pages(changes):
                registry, _ = await apply_changes(connection, CATALOG, registry, page)
            anew = await load_registry(connection, CATALOG)
            assert facts(registry) == facts(anew)
            assert (await changes_since(connection, anew.revision)).devices == ()
            return len(changes.gateways), len(changes.devices)

    return followed


NEW_DEVICE = """
    WITH made AS (
        INSERT INTO device (enterprise_id, gateway_id, code, kind)
        SELECT enterprise_id, gateway_id, 'NEW-' || n, 'gas_detector'
          FROM gateway, generate_series(1, {many}) n WHERE code = 'G1' RETURNING *)
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, 'lel', '%{{LEL}}' FROM made"""


@pytest.mark.parametrize(
    ("statements", "noted"),
    [
        pytest.param([NEW_DEVICE.format(many=1)], (0, 1), id="a new device"),
        pytest.param([NEW_DEVICE.format(many=2_500)], (0, 2_500), id="more than one page of them"),
        pytest.param(["UPDATE device SET tags = '{\"species\": \"CO\"}' WHERE code = 'GD-1'"],
                     (0, 1), id="tags"),
        pytest.param(["DELETE FROM point WHERE quantity = 'ppm'"], (0, 2), id="points that go"),
        pytest.param(["DELETE FROM point p USING device d"
                      " WHERE p.device_id = d.device_id AND d.code = 'GD-9'",
                      "DELETE FROM device WHERE code = 'GD-9'"], (0, 1), id="a device that goes"),
        pytest.param(["UPDATE gateway SET dialect = 'senml' WHERE code = 'G1'"], (1, 0),
                     id="a gateway's dialect"),
        pytest.param(["UPDATE gateway SET online = true, status_at = now(), firmware = 'x'"],
                     (0, 0), id="not what a gateway says of itself"),
        pytest.param(["UPDATE enterprise SET name = 'another'"], (0, 0), id="not a name"),
        pytest.param(["UPDATE enterprise SET code = 'E7' WHERE code = 'E2'"], (1, 1),
                     id="an enterprise's code"),
        pytest.param(["INSERT INTO hazard_unit (enterprise_id, code, name)"
                      " SELECT enterprise_id, 'U1', 'unit' FROM enterprise WHERE code = 'E1'",
                      "UPDATE device d SET hazard_unit_id = u.hazard_unit_id FROM hazard_unit u"
                      " WHERE d.code = 'TK-1'",
                      "UPDATE hazard_unit SET grade = 1"], (0, 1), id="a hazard unit's grade"),
    ],
)  # fmt: skip
async def test_what_changed_is_noted_and_followed(
    follow: Follow, statements: list[str], noted: tuple[int, int]
) -> None:
    assert await follow(*statements) == noted


async def test_a_transaction_makes_one_revision_however_much_it_changes(
    database: str, follow: Follow
) -> None:
    (before,) = query(database, "SELECT revision FROM registry_revision")
    await follow(*[NEW_DEVICE.format(many=1).replace("NEW-", f"N{n}-") for n in range(5)])
    (after,) = query(database, "SELECT revision FROM registry_revision")
    assert after[0] == before[0] + 1


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with mosquitto(folder) as running:
        yield running


def test_a_device_that_is_registered_is_heard_without_a_restart(
    database: str, broker: Broker, home: Path
) -> None:
    worlds.register(database)
    with at_work(database, broker, home), gateway_at(broker) as gateway:
        gateway.read({"GD-1.lel": 30})
        eventually(lambda: query(database, "SELECT FROM alarm"), "an alarm stands")
        with psycopg.connect(database) as connection:
            connection.execute(NEW_DEVICE.format(many=1))

        def heard() -> list[tuple[Any, ...]]:
            gateway.read({"NEW-1.lel": 60, "GD-1.lel": 30})
            return query(database, "SELECT FROM alarm JOIN device USING (device_id)"
                                   " WHERE code = 'NEW-1'")  # fmt: skip

        eventually(heard, "the new device's alarm")
        gateway.read({"GD-1.lel": 0})
    assert query(database, "SELECT count(*) FROM alarm") == [(2,)], "the first was raised once"


LOOKING_BACK: dict[str, Any] = {
    "id": "plant.lel.highest",
    "kind": "aggregate",
    "quantity": "lel",
    "name": {"zh": "一小时最大", "en": "Highest of an hour"},
    "select": {"kind": "gas_detector", "tags": {"watched": True}},
    "take": "max",
    "over_s": 3_600,
    "high": {"yellow": 40},
    "source": "house",
    "confidence": "house",
    "guidance": {"zh": "查漏。", "en": "Look for the leak."},
}


def test_a_window_that_begins_while_the_worker_runs_has_its_past(
    database: str, broker: Broker, home: Path, tmp_path: Path
) -> None:
    shipped = resources.files("hazardloop") / "catalogue" / "gas_detector.yaml"
    kind = yaml.safe_load(shipped.read_text("utf-8")) | {"rules": [LOOKING_BACK]}
    (tmp_path / "gas_detector.yaml").write_text(yaml.safe_dump(kind), encoding="utf-8")
    worlds.register(database, {"GD-1": "gas_detector"}, interval_s=1)
    settings = {"kinds_dir": tmp_path}
    with at_work(database, broker, home, **settings), gateway_at(broker) as gateway:
        gateway.read({"GD-1.lel": 50})
        eventually(lambda: query(database, worlds.STORED) == [(1,)], "it is stored")
        with psycopg.connect(database) as connection:
            connection.execute("UPDATE device SET tags = '{\"watched\": true}'")

        def raised() -> list[tuple[Any, ...]]:
            gateway.read({"GD-1.lel": 1})
            return query(database, "SELECT value FROM alarm")

        assert eventually(raised, "an alarm for what was said before") == [(50,)]


async def test_a_device_of_a_hazard_unit_has_the_code_of_it_as_a_tag(database: str) -> None:
    worlds.register(database)
    with psycopg.connect(database) as other:
        other.execute('UPDATE device SET tags = \'{"zone": "A"}\'')
        other.execute(
            "INSERT INTO hazard_unit (enterprise_id, code, name)"
            " SELECT enterprise_id, 'HU-7', '' FROM device LIMIT 1"
        )
        other.execute(
            "UPDATE device d SET hazard_unit_id = u.hazard_unit_id FROM hazard_unit u"
            " WHERE d.device_id = (SELECT min(device_id) FROM device)"
        )
    async with await connect(database, "test") as connection:
        registry = await load_registry(connection, CATALOG)
    tags = {point.device_id: point.tags for point in registry.points}
    assert tags.pop(min(tags)) == {"zone": "A", "hazard_unit": "HU-7"}
    assert all(each == {"zone": "A"} for each in tags.values())
