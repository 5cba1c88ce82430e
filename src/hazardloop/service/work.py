"""What a batch, or a tick, came to: all that becomes durable together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hazardloop.alarms.evaluation import Outcome
from hazardloop.devices.dialects.dialect import Wish
from hazardloop.devices.readings import Readings, no_readings
from hazardloop.devices.registry import Registry
from hazardloop.ingest.arrivals import Arrivals, no_arrivals
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.letters import Refusal
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.retries import RetryOutcome
from hazardloop.ingest.store import CountedLetters, DeadLetter


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
    arrivals: Arrivals = field(default_factory=no_arrivals)
    counted: list[CountedLetters] = field(default_factory=list)
    """Messages set aside of which only the number is kept."""
    retries: list[RetryOutcome] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """What gateways are to be told; not durable."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Refused readings by reason, for the figures; not durable."""
    wishes: list[Wish] = field(default_factory=list)
    """To be published to gateways; a lost one is wished again, so none is kept on disk."""
