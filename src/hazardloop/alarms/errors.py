"""What can be refused on the way from an alarm to its closed case."""

from uuid import UUID

from hazardloop.alarms.alarm import Action, Case, Step


class StepRefused(Exception):
    """The case does not allow this step now; nothing was changed."""

    def __init__(self, case: Case, step: Step, reason: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(
            f"case {case.case_id}: {step.action} is refused at stage {case.stage}: {reason}"
        )
        self.case = case
        self.step = step
        self.reason = reason
        self.missing = missing
        """Names of the fields that would have to be filled in."""


class StepForbidden(Exception):
    """This person may not take this step on this case, whatever its stage."""

    def __init__(self, case: Case, step: Step, reason: str) -> None:
        actor = step.actor
        super().__init__(f"{step.action} is not for {actor.username} ({actor.role}): {reason}")
        self.case = case
        self.step = step


class CaseOvertaken(Exception):
    """Somebody changed the case since it was read; read it again, then decide."""

    def __init__(
        self, case_id: UUID, revision: int, seen: int, allowed: tuple[Action, ...] = ()
    ) -> None:
        super().__init__(f"case {case_id} is at revision {revision}, the step was made on {seen}")
        self.case_id = case_id
        self.revision = revision
        """Where the case is now."""
        self.seen = seen
        self.allowed = allowed
        """What the asker may do with it as it is now."""


class CaseUnknown(Exception):
    """No such case, or none that the asker may see."""

    def __init__(self, case_id: UUID) -> None:
        super().__init__(f"case {case_id} is not known here")
        self.case_id = case_id


class SignalRefused(Exception):
    """The signal does not allow this now; nothing was changed."""

    def __init__(self, reason: str, state: str, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.state = state
        """Where the signal stands."""
        self.allowed = allowed
        """What would be taken now."""


class HoldRefused(Exception):
    """Annunciation is not withheld like this, or this hold is over."""


class HoldForbidden(Exception):
    """This person may not grant it."""


class HoldUnknown(Exception):
    """No such hold, or none that the asker may see."""


class HazardRefused(Exception):
    """The hazard does not allow this now; nothing was changed."""

    def __init__(self, reason: str, allowed: tuple[str, ...]) -> None:
        super().__init__(reason)
        self.allowed = allowed
        """What may be done with it now."""


class HazardForbidden(Exception):
    """This person may never do that to this hazard."""


class HazardOvertaken(Exception):
    """Somebody changed the hazard since it was read; read it again, then decide."""

    def __init__(self, hazard_id: int, revision: int) -> None:
        super().__init__(f"hazard {hazard_id} is at revision {revision} by now")
        self.revision = revision


class InventoryOvertaken(Exception):
    """Somebody said what the unit holds since the asker looked."""

    def __init__(self, unit: str, revision: int) -> None:
        super().__init__(f"the inventory of {unit} is no longer at revision {revision}")


class ChainBroken(Exception):
    """A line of the ledger does not follow on the one before it."""

    def __init__(self, position: int, expected: bytes, found_position: int, found: bytes) -> None:
        super().__init__(
            f"position {position}: expected hash {expected.hex()}, found {found.hex()}"
            if position == found_position
            else f"position {position} is missing: {found_position} follows on {position - 1}"
        )
        self.position = position
        """That should have been next."""
        self.expected = expected
        self.found_position = found_position
        self.found = found


class CheckpointUnreadable(Exception):
    """This is no checkpoint of a ledger."""


class DrillRefused(Exception):
    """A drill is not announced or cancelled like this."""


class DrillUnknown(Exception):
    """No such drill, or none that the asker may see."""


class DraftRefused(Exception):
    """A change of a rule is not drafted or decided like this."""
