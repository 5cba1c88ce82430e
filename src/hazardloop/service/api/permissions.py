"""Which role may do what: the one table, and nothing that is not in it."""

from collections.abc import Mapping
from typing import Final

from hazardloop.alarms.alarm import Role

EVERYONE: Final = frozenset(Role)
DISPOSERS: Final = frozenset({Role.ENTERPRISE, Role.OPERATOR, Role.SUPERVISOR, Role.AUTHORITY})
"""Those who take part in handling; administrators, auditors and testers never do."""

PERMISSIONS: Final[Mapping[str, frozenset[Role]]] = {
    "session.own": EVERYONE,
    "registry.read": EVERYONE,
    "registry.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "readings.read": EVERYONE,
    "balance.read": EVERYONE,
    "dead_letters.read": EVERYONE - {Role.TESTER},
    "dead_letters.retry": frozenset({Role.ADMIN, Role.SUPERVISOR, Role.OPERATOR}),
    "rules.read": EVERYONE,
    "rules.draft": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "rules.approve": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "alarms.read": EVERYONE,
    "alarms.acknowledge": frozenset({Role.OPERATOR, Role.SUPERVISOR}),
    "alarms.reset": frozenset({Role.OPERATOR, Role.SUPERVISOR}),
    "alarms.shelve": frozenset({Role.ENTERPRISE, Role.OPERATOR, Role.SUPERVISOR}),
    "alarms.grant": frozenset({Role.OPERATOR, Role.SUPERVISOR}),
    "alarms.suppress": frozenset({Role.SUPERVISOR}),
    "simulations.read": frozenset({Role.TESTER, Role.ADMIN}),
    "simulations.run": frozenset({Role.TESTER}),
    "drills.read": EVERYONE,
    "drills.announce": frozenset({Role.SUPERVISOR}),
    "cases.read": EVERYONE,
    "cases.step": DISPOSERS,
    "cases.attach": DISPOSERS,
    "cases.permit": frozenset({Role.SUPERVISOR}),
    "hazards.read": EVERYONE,
    "hazards.write": DISPOSERS,
    "case_policy.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "recipients.read": EVERYONE - {Role.ENTERPRISE, Role.TESTER},
    "recipients.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "figures.read": EVERYONE,
    "reports.read": EVERYONE,
    "reports.write": EVERYONE - {Role.TESTER},
    "rules.backtest": frozenset({Role.ADMIN, Role.SUPERVISOR, Role.AUTHORITY, Role.ENTERPRISE}),
    "escalation.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "calendar.read": EVERYONE,
    "calendar.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "shifts.read": frozenset(
        {Role.ADMIN, Role.SUPERVISOR, Role.OPERATOR, Role.AUTHORITY, Role.AUDITOR}
    ),
    "shifts.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "shifts.hand_over": frozenset({Role.SUPERVISOR, Role.OPERATOR}),
    "contacts.read": EVERYONE - {Role.TESTER},
    "contacts.write": frozenset({Role.ADMIN, Role.SUPERVISOR}),
    "stand_ins.write": frozenset({Role.ADMIN, Role.SUPERVISOR, Role.ENTERPRISE}),
    "notices.read": EVERYONE - {Role.TESTER},
    "notices.resend": frozenset({Role.ADMIN, Role.SUPERVISOR, Role.OPERATOR}),
    "system.read": frozenset({Role.ADMIN, Role.SUPERVISOR, Role.TESTER}),
    "ledger.read": frozenset({Role.AUDITOR, Role.AUTHORITY, Role.SUPERVISOR, Role.ENTERPRISE}),
}
"""`rules.approve` is never for a draft of one's own (service/api/rules.py).
`alarms.shelve` lets ask for it, `alarms.grant` lets it be so (alarms/hold.py).
`cases.step` opens the door; which step who may take then is the table of alarms/lifecycle.py."""


def permissions_of(role: Role) -> tuple[str, ...]:
    """Names of all that `role` may do, sorted."""
    return tuple(sorted(name for name, roles in PERMISSIONS.items() if role in roles))
