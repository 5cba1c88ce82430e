"""Versions of rules: those that files bring, and which are in force."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rules import definition_of

Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtext('hazardloop.rule_versions'))"

# Of each rule its newest version, the newest that is not held back, and the newest of a file.
NEWEST: Final = """
    SELECT rule_id, max(version),
           max(version) FILTER (WHERE effective_from IS NOT NULL),
           max(version) FILTER (WHERE origin = 'file')
      FROM rule_version GROUP BY rule_id"""

SAID: Final = """
    SELECT v.rule_id, v.version, v.definition, v.retired FROM rule_version v
      JOIN unnest(%(rule)s::text[], %(version)s::int[]) AS t (rule_id, version)
           USING (rule_id, version)"""

ADD: Final = """
    INSERT INTO rule_version (rule_id, version, definition, body, retired, effective_from)
    VALUES (%(rule_id)s, %(version)s, %(definition)s, %(body)s, %(retired)s,
            CASE WHEN %(held)s THEN NULL ELSE now() END)"""

IN_FORCE: Final = """
    SELECT rule_id, version, definition, body, origin, retired FROM rules_in_force(now())"""

NUMBERS_IN_FORCE: Final = "SELECT rule_id, version FROM rules_in_force(now()) WHERE NOT retired"


@dataclass(frozen=True, slots=True)
class Kept:
    """One version of a rule, as it is stored."""

    rule_id: str
    version: int
    definition: Mapping[str, Any]
    body: Mapping[str, Any] | None
    """As it was written; None: it was made before this was kept."""
    origin: str
    """file or api."""
    retired: bool


@dataclass(frozen=True, slots=True)
class _Known:
    """What is stored of one rule."""

    newest: int
    decided: int | None
    """The newest version that is not held back."""
    of_file: int | None
    said: Mapping[int, tuple[Mapping[str, Any], bool]]
    """Definition of those two, and whether they retire the rule."""


async def keep_rule_versions(
    connection: Connection, rules: Iterable[Rule], *, whole: bool = False
) -> dict[str, int]:
    """The version of what files say of each rule; one that they changed gets another.

    A version that people decided stays: where the file changes afterwards and says otherwise, what
    it says is kept as a version that is held back, until people decide anew. In its own
    transaction, one process at a time.

    Args:
        connection: outside any transaction.
        rules: of files.
        whole: these are all of them: rules that only files brought and no longer bring are retired.
    """
    async with connection.transaction():
        await connection.execute(ONE_AT_A_TIME)
        known = await _known(connection)
        versions: dict[str, int] = {}
        for rule in rules:
            found = known.get(rule.rule_id)
            versions[rule.rule_id] = await _keep(connection, rule, found)
        if whole:
            for rule_id in sorted(known.keys() - versions.keys()):
                await _retire(connection, rule_id, known[rule_id])
    return versions


async def _known(connection: Connection) -> dict[str, _Known]:
    rows = await (await connection.execute(NEWEST)).fetchall()
    wanted = [(row[0], version) for row in rows for version in {row[2], row[3]} - {None}]
    arguments = {"rule": [each[0] for each in wanted], "version": [each[1] for each in wanted]}
    said: dict[str, dict[int, tuple[Mapping[str, Any], bool]]] = {}
    for rule_id, version, definition, retired in await (
        await connection.execute(SAID, arguments)
    ).fetchall():
        said.setdefault(rule_id, {})[version] = (definition, retired)
    return {
        rule_id: _Known(newest, decided, of_file, said[rule_id])
        for rule_id, newest, decided, of_file in rows
    }


async def _keep(connection: Connection, rule: Rule, known: _Known | None) -> int:
    said = (definition_of(rule), False)
    before = known.said.get(known.of_file or 0) if known else None
    decided = known.said.get(known.decided or 0) if known else None
    if known and known.of_file and before == said:
        return known.of_file
    version = (known.newest if known else 0) + 1
    held = decided is not None and decided not in (before, said)
    await connection.execute(ADD, _row(rule.rule_id, version, said[0], rule.body, held=held))
    return version


async def _retire(connection: Connection, rule_id: str, known: _Known) -> None:
    if known.of_file is None or known.of_file != known.decided or known.said[known.of_file][1]:
        return
    definition = known.said[known.of_file][0]
    row = _row(rule_id, known.newest + 1, definition, None, retired=True)
    await connection.execute(ADD, row)


def _row(
    rule_id: str,
    version: int,
    definition: Mapping[str, Any],
    body: Mapping[str, Any] | None,
    *,
    held: bool = False,
    retired: bool = False,
) -> dict[str, Any]:
    return {
        "rule_id": rule_id,
        "version": version,
        "definition": Jsonb(definition),
        "body": Jsonb(body) if body else None,
        "held": held,
        "retired": retired,
    }


async def in_force(connection: Connection) -> list[Kept]:
    """The version of each rule that is in force now, by rule id; retired ones too."""
    rows = await (await connection.execute(IN_FORCE)).fetchall()
    return [Kept(*row) for row in rows]


async def numbers_in_force(connection: Connection) -> dict[str, int]:
    """The version of each rule in force, of those that are not retired."""
    rows = await (await connection.execute(NUMBERS_IN_FORCE)).fetchall()
    return dict(rows)
