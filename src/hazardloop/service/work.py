"""What a batch, or a tick, came to: all that becomes durable together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hazardloop.alarms.evaluation import Find, Outcome, merge
from hazardloop.devices.dialects.dialect import Wish
from hazardloop.devices.readings import Bools, Readings, Rows, no_readings
from hazardloop.devices.registry import Registry
from hazardloop.ingest import arrivals
from hazardloop.ingest.arrivals import FATE, Arrivals, Fate, no_arrivals
from hazardloop.ingest.batching import Batch
from hazardloop.ingest.letters import Refusal
from hazardloop.ingest.messages import DUP
from hazardloop.ingest.opening import StatusSaid
from hazardloop.ingest.retries import RetryOutcome
from hazardloop.ingest.store import CountedLetters, DeadLetter
from hazardloop.ingest.texts import Texts


@dataclass(frozen=True, slots=True)
class SpokenAgain:
    """What is kept of a message, to say later that its readings were stored already."""

    topic: bytes
    payload: bytes
    received_us: int
    dup: bool
    """The broker, not the gateway, said it again."""


@dataclass(frozen=True, slots=True)
class Aside:
    """Readings that are late or stored already, which only the database can tell.

    What a late reading would find depends on when it came: that is worked out at once, and holds
    if the reading turns out to be new.
    """

    readings: Readings
    """Those that came after newer ones are flagged so; `message` counts in `messages`."""
    messages: tuple[SpokenAgain, ...]
    of_batch: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    """(messages,) index of each in the batch it came with, ascending; not kept."""
    finds: tuple[tuple[int, Find], ...] = ()
    """Index of a reading, and an alarm that it tells of."""
    arrivals: Arrivals = field(default_factory=no_arrivals)
    """Runs of one message each, of which every reading is here."""
    place: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    """(runs,) index of each in `messages`."""

    def with_arrivals(
        self, message: Rows, came: Arrivals, new: Readings
    ) -> tuple[Arrivals, "Aside"]:
        """The runs of which something is decided, and this aside with all others.

        Args:
            message: (runs,) index in the batch of each run's message; -1 = none.
            came: the runs of a batch.
            new: the readings of that batch that are surely new.
        """
        waits = np.isin(message, self.of_batch) & ~np.isin(message, new.message)
        place = np.searchsorted(self.of_batch, message[waits]).astype(np.int32)
        return came.take(~waits), replace(self, arrivals=came.take(waits), place=place)

    def arrivals_with(self, new: Readings) -> Arrivals:
        """The runs with what came of them, now that these readings have proved to be new."""
        fate = np.full(len(self.messages), Fate.DUPLICATE, np.int16)
        fate[new.message] = Fate.STORED
        came = self.arrivals
        return replace(came, kind=(came.kind & np.int16(~FATE)) | fate[self.place])

    @property
    def batch(self) -> Batch:
        """The messages as a batch that was acknowledged long ago."""
        return Batch(
            0,
            0,
            Texts.of(message.topic for message in self.messages),
            Texts.of(message.payload for message in self.messages),
            flags=bytes(DUP if message.dup else 0 for message in self.messages),
            received_at=np.array([message.received_us for message in self.messages], np.int64),
        )


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
    aside: Aside | None = None


def aside_of(readings: Readings, batch: Batch) -> Aside:
    """These readings of the batch, to be asked about later; nothing is said of alarms yet."""
    messages, place = np.unique(readings.message, return_inverse=True)
    dup: Bools = batch.dup | batch.retained
    kept = Readings(
        readings.row, readings.observed_at, readings.received_at, readings.value,
        readings.quality, place.astype(np.int32),
    )  # fmt: skip
    spoken = tuple(
        SpokenAgain(
            batch.topics[at],
            b"" if dup[at] else batch.payloads[at],
            int(batch.received_at[at]),
            bool(dup[at]),
        )
        for at in messages.tolist()
    )
    return Aside(kept, spoken, messages)


def one_work(works: Sequence[Work]) -> Work:
    """All of these, one after the other, to be recorded in one transaction; without asides."""
    first = works[0]
    if len(works) == 1:
        return first
    outcome = first.outcome
    for work in works[1:]:
        outcome = merge(outcome, work.outcome)
    return Work(
        works[-1].registry,
        outcome,
        readings=joined([work.readings for work in works]),
        letters=[letter for work in works for letter in work.letters],
        statuses=[status for work in works for status in work.statuses],
        duplicates=sum(work.duplicates for work in works),
        arrivals=arrivals.joined([work.arrivals for work in works]),
        counted=[counted for work in works for counted in work.counted],
        retries=[retry for work in works for retry in work.retries],
    )


def joined(parts: Sequence[Readings]) -> Readings:
    """All readings in order; `message` still counts in the batch each came with."""
    return Readings(
        np.concatenate([part.row for part in parts]),
        np.concatenate([part.observed_at for part in parts]),
        np.concatenate([part.received_at for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
        np.concatenate([part.message for part in parts]),
    )
