"""What a batch, or a tick, came to: all that becomes durable together."""

from dataclasses import dataclass, field

from hazardloop.alarms.evaluation import Outcome
from hazardloop.devices.readings import Readings, no_readings
from hazardloop.devices.registry import Registry
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.decoding import StatusSaid
from hazardloop.ingest.store import DeadLetter


@dataclass(frozen=True, slots=True)
class Work:
    """Evaluated, not yet durable."""

    registry: Registry
    """Whose rows the columns and changes speak of."""
    outcome: Outcome
    batches: tuple[Batch, ...] = ()
    """To be acknowledged once it is durable."""
    readings: Readings = field(default_factory=no_readings)
    letters: list[DeadLetter] = field(default_factory=list)
    statuses: list[StatusSaid] = field(default_factory=list)
    duplicates: int = 0
