"""The message balance of a gateway: sent = stored + duplicate + rejected + missing, each minute.

A gateway numbers its messages without gaps. Which numbers came is kept as *series*: the stretch
from the lowest to the highest number heard, less the gaps. What was sent follows from the stretch
(its length, and each repeat of a number); what came of it follows from the messages: two ways to
the same sum, which the database checks for every minute and every day.

Booked is by the minute of receipt. A number that is missing is booked in the minute in which the
next higher number that did come was received; when it comes after all, it leaves that minute and is
booked where it was received. What the broker sent twice was not sent twice by the gateway: a
message flagged so, whose number was heard, is counted apart as redelivered.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from hazardloop.ingest.arrivals import AGAIN, FATE, UNNUMBERED, Fate

FAR: Final = 100
"""Numbers. A new message this far behind the highest number heard did not come late: the gateway
has started to count anew. One of number 0 or 1 has in any case. One this far below the lowest
number heard is of another series, too."""
AHEAD: Final = 1_000_000
"""Numbers. A leap further ahead is a new series and no loss (a week of one message a second is
604,800)."""
MOST_SERIES: Final = 8
"""Of one gateway that a late message can still join; the one longest unused is closed first."""
MOST_GAPS: Final = 4_096
"""Of one series that a late message can still close; beyond, the lowest stays missing for good."""


@dataclass(slots=True)
class Tally:
    """What is booked in one minute, or as a change of it."""

    numbers: int = 0
    """Message numbers, heard or missing."""
    repeated: int = 0
    """Messages under a number that had been heard."""
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    missing: int = 0
    redelivered: int = 0
    """Sent again by the broker, and therefore not counted in any of the above."""
    unnumbered_stored: int = 0
    """This and the next two: messages without a number, not counted in any of the above."""
    unnumbered_duplicate: int = 0
    unnumbered_rejected: int = 0

    @property
    def sent(self) -> int:
        """By the gateway, as its numbers tell."""
        return self.numbers + self.repeated

    def add(self, other: "Tally") -> None:
        """Books what `other` holds here, too."""
        for name in TALLIED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


TALLIED: Final = tuple(Tally.__slots__)
FATES: Final = {Fate.STORED: "stored", Fate.DUPLICATE: "duplicate", Fate.REJECTED: "rejected"}


@dataclass(slots=True)
class Gap:
    """Numbers that have not been heard, all between two that have."""

    first: int
    last: int
    minute: int
    """Where they are booked: when the number after `last` was received."""


@dataclass(slots=True)
class Series:
    """Numbers that grew without the gateway starting anew."""

    nth: int
    """1, 2, 3, ... of its gateway."""
    first: int
    last: int
    first_minute: int
    """When `first` was received."""
    gaps: list[Gap] = field(default_factory=list)
    """Ascending."""

    def gap_at(self, number: int) -> int | None:
        """Index of the gap that holds `number`."""
        at = bisect_left(self.gaps, number, key=lambda gap: gap.last)
        return at if at < len(self.gaps) and self.gaps[at].first <= number else None

    def distance(self, number: int) -> int | None:
        """How far from what was heard; 0 = next to it or in a gap of it, None = it was heard."""
        if number > self.last:
            return number - self.last - 1
        if number < self.first:
            return self.first - number - 1
        return None if self.gap_at(number) is None else 0

    def within(self, number: int) -> bool:
        """Whether a number that was not heard may belong here, late or after a loss."""
        return self.first - number <= FAR and number - self.last <= AHEAD

    def same_until(self, number: int) -> int | None:
        """The first number above that is not to this series what `number` is; None: none."""
        if number > self.last:
            return None
        if number < self.first:
            return self.first
        at = bisect_left(self.gaps, number, key=lambda gap: gap.last)
        if at == len(self.gaps):
            return self.last + 1
        gap = self.gaps[at]
        return gap.last + 1 if gap.first <= number else gap.first

    def next_bound(self, number: int) -> int | None:
        """The same where another series goes on: it matters, too, which number is next to this."""
        if number > self.last:
            return self.last + 2 if number == self.last + 1 else None
        if number < self.first - 1:
            return self.first - 1
        return self.same_until(number)


@dataclass(slots=True)
class Account:
    """What is known of the numbers of one gateway, and what its last messages changed."""

    series: list[Series] = field(default_factory=list)
    """The one used last comes first."""
    changes: dict[int, Tally] = field(default_factory=dict)
    """By minute."""

    def take(self, minute: int, first: int, messages: int, kind: int) -> None:
        """Books one run of messages."""
        fate, again = Fate(kind & FATE), bool(kind & AGAIN)
        if kind & UNNUMBERED:
            self._book_unnumbered(self._tally(minute), fate, again, messages)
            return
        number, end = first, first + messages
        while number < end:
            series = self._place(number, fate, again)
            stop = self._one_matter(series, number, end)
            if series is None:
                self._open(number, stop - 1, minute)
                heard = False
            else:
                heard = self._extend(series, number, stop - 1, minute)
                self._use(series)
            self._book(self._tally(minute), fate, again and heard, heard, stop - number)
            number = stop

    def forget_gaps_before(self, minute: int) -> None:
        """What was booked as missing before that minute stays so."""
        for series in self.series:
            series.gaps = [gap for gap in series.gaps if gap.minute >= minute]

    def _place(self, number: int, fate: Fate, again: bool) -> Series | None:
        """The series that the number belongs to; None: it opens another."""
        distances = [(series.distance(number), series) for series in self.series]
        heard = next((series for distance, series in distances if distance is None), None)
        fits = next((series for distance, series in distances if distance == 0), None)
        if again or fate is Fate.DUPLICATE:
            fits = heard or fits
        if fits is not None:
            return fits
        if heard is not None:
            # Something new under an old number: the gateway counts anew, unless it is close by.
            anew = fate is Fate.STORED and (number <= 1 or heard.last - number >= FAR)
            return None if anew else heard
        near = [(d, nth, s) for nth, (d, s) in enumerate(distances) if d and s.within(number)]
        return min(near, default=(0, 0, None))[2]

    def _one_matter(self, chosen: Series | None, number: int, end: int) -> int:
        """The end of the numbers, from `number` on, that go the same way."""
        bounds = [s.next_bound(number) for s in self.series if s is not chosen]
        if chosen is not None:
            bounds.append(chosen.same_until(number))
        return min([end, *(bound for bound in bounds if bound is not None)])

    def _open(self, first: int, last: int, minute: int) -> None:
        nth = max((series.nth for series in self.series), default=0) + 1
        self.series.insert(0, Series(nth, first, last, minute))
        self._tally(minute).numbers += last - first + 1
        del self.series[MOST_SERIES:]

    def _use(self, series: Series) -> None:
        if self.series[0] is not series:
            self.series.remove(series)
            self.series.insert(0, series)

    def _extend(self, series: Series, first: int, last: int, minute: int) -> bool:
        """Notes the numbers in the series; whether they were there."""
        here, count = self._tally(minute), last - first + 1
        if first > series.last:
            self._lose(series, len(series.gaps), series.last + 1, first - 1, minute)
            series.last = last
            here.numbers += count
        elif first < series.first:
            self._lose(series, 0, last + 1, series.first - 1, series.first_minute)
            series.first, series.first_minute = first, minute
            here.numbers += count
        elif (at := series.gap_at(first)) is not None:
            self._fill(series, at, first, last, minute)
        else:
            return True
        return False

    def _lose(self, series: Series, at: int, first: int, last: int, minute: int) -> None:
        if first > last:
            return
        series.gaps.insert(at, Gap(first, last, minute))
        tally = self._tally(minute)
        tally.numbers += last - first + 1
        tally.missing += last - first + 1
        del series.gaps[: max(0, len(series.gaps) - MOST_GAPS)]

    def _fill(self, series: Series, at: int, first: int, last: int, minute: int) -> None:
        """Numbers came that had been missed; those below them are missed since this minute."""
        gap = series.gaps[at]
        there, here = self._tally(gap.minute), self._tally(minute)
        left = [Gap(gap.first, first - 1, minute)] if gap.first < first else []
        right = [Gap(last + 1, gap.last, gap.minute)] if last < gap.last else []
        series.gaps[at : at + 1] = left + right
        lower, count = first - gap.first, last - first + 1
        there.numbers -= lower + count
        there.missing -= lower + count
        here.numbers += lower + count
        here.missing += lower

    def _tally(self, minute: int) -> Tally:
        if (tally := self.changes.get(minute)) is None:
            tally = self.changes[minute] = Tally()
        return tally

    @staticmethod
    def _book(tally: Tally, fate: Fate, redelivered: bool, heard: bool, messages: int) -> None:
        if redelivered:
            tally.redelivered += messages
            return
        if heard:
            tally.repeated += messages
        setattr(tally, FATES[fate], getattr(tally, FATES[fate]) + messages)

    @staticmethod
    def _book_unnumbered(tally: Tally, fate: Fate, again: bool, messages: int) -> None:
        if again and fate is Fate.DUPLICATE:
            tally.redelivered += messages
            return
        name = "unnumbered_" + FATES[fate]
        setattr(tally, name, getattr(tally, name) + messages)


def folded(runs: Iterable[tuple[int, int, int, int, int]], accounts: dict[int, Account]) -> None:
    """Books runs (gateway_id, minute, first, messages, kind) in the accounts, by gateway_id."""
    for gateway_id, minute, first, messages, kind in runs:
        if (account := accounts.get(gateway_id)) is None:
            account = accounts[gateway_id] = Account()
        account.take(minute, first, messages, kind)
