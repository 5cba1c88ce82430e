"""What a hazard unit holds now, from what its tanks tell; and what it would hold after a change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from hazardloop.devices.hazard_level import Held, Level, Tables, Tank, level_of, worse

FRESH: Final = timedelta(minutes=15)
"""A level that is older is shown and kept, but nothing is allowed on its word (house)."""


class Known(StrEnum):
    """How a quantity is known, the surest first."""

    MEASURED = "measured"
    STALE = "stale"
    """By the last level that was read, too long ago to rely on."""
    FULL = "full"
    """No level is known: the tank counts as full."""
    DESIGN = "design"
    """No tank measures it: it counts with its design quantity."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """A tank, and the newest usable readings of it."""

    device: str
    """Its code."""
    tank: Tank
    level_m: float | None = None
    read_at: datetime | None = None
    celsius: float | None = None

    def mass_t(self, now: datetime, *, cautious: bool = False) -> tuple[float, Known]:
        """What is in it, and how that is known; `cautious`: an old level counts as a full tank."""
        if self.level_m is None or self.read_at is None:
            return self.tank.full_t, Known.FULL
        if now - self.read_at <= FRESH:
            return self.tank.mass_t(self.level_m, self.celsius), Known.MEASURED
        last = self.tank.full_t if cautious else self.tank.mass_t(self.level_m, self.celsius)
        return last, Known.STALE


@dataclass(frozen=True, slots=True)
class Stock:
    """One substance of a unit."""

    name: str
    threshold_t: float
    beta: float
    design_t: float
    """The largest quantity by design: what the registered grade counts."""
    gauges: tuple[Gauge, ...] = ()

    def live(self, now: datetime, *, cautious: bool = False) -> tuple[float, Known]:
        """T of it now, and how the least known part of that is known."""
        if not self.gauges:
            return self.design_t, Known.DESIGN
        parts = [gauge.mass_t(now, cautious=cautious) for gauge in self.gauges]
        order = list(Known)
        return round(sum(mass for mass, _ in parts), 3), max((k for _, k in parts), key=order.index)

    def held(self, mass_t: float) -> Held:
        """So much of it."""
        return Held(self.name, mass_t, self.threshold_t, self.beta)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a unit holds, and who lives around it."""

    people: int | None
    """Residents within 500 m of the site; None: not counted, the worst alpha."""
    registered: int | None
    """The grade it is registered with."""
    stocks: tuple[Stock, ...]

    @property
    def design(self) -> tuple[Held, ...]:
        """Its design quantities, which the standard grades by."""
        return tuple(stock.held(stock.design_t) for stock in self.stocks)

    def live(self, now: datetime) -> tuple[Held, ...]:
        """What is there now."""
        return tuple(stock.held(stock.live(now)[0]) for stock in self.stocks)

    def design_level(self, tables: Tables) -> Level:
        """By the design quantities."""
        return level_of(self.design, self.people, tables)

    def live_level(self, now: datetime, tables: Tables) -> Level:
        """By what is there now."""
        return level_of(self.live(now), self.people, tables)


@dataclass(frozen=True, slots=True)
class Change:
    """So much more of a substance; less is below 0."""

    name: str
    add_t: float
    device: str | None = None
    """The tank it goes to, if it is to be looked at."""


class Limit(StrEnum):
    """What a change may not cross."""

    GRADE = "grade"
    """It would be of a graver grade than it is registered with."""
    THRESHOLD = "threshold"
    """It would become a major hazard."""
    DESIGN = "design_quantity"
    TANK = "tank"
    """It does not go into the tank."""
    NOT_READ = "not_read"
    """Nobody knows how much is there: of that tank, or of the substance that no tank measures."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """A limit that a change would cross."""

    limit: Limit
    subject: str
    """The substance, tank or quantity (R, S) that it is about."""
    at: float | None
    """Where the limit stands."""
    would_be: float | None


@dataclass(frozen=True, slots=True)
class Prospect:
    """A unit before and after changes, and what stands against them."""

    held_before: tuple[Held, ...]
    before: Level
    held_after: tuple[Held, ...]
    after: Level
    crossings: tuple[Crossing, ...]

    @property
    def allowed(self) -> bool:
        """Whether nothing stands against it."""
        return not self.crossings


def prospect(
    inventory: Inventory, changes: Sequence[Change], now: datetime, tables: Tables
) -> Prospect:
    """The unit after these changes; what is not known counts as full.

    Raises:
        KeyError: a substance or tank that the unit has not.
        ValueError: more would be taken out than is there.
    """
    stocks = {stock.name: stock for stock in inventory.stocks}
    masses = {name: stock.live(now, cautious=True)[0] for name, stock in stocks.items()}
    crossings = []
    for change in changes:
        stock = stocks[change.name]
        masses[change.name] = round(masses[change.name] + change.add_t, 3)
        if masses[change.name] < 0:
            raise ValueError(f"{change.name}: {-change.add_t:g} t are not there")
        crossings += _of_tanks(stock, change, now)
    for name in dict.fromkeys(change.name for change in changes):
        if masses[name] > stocks[name].design_t:
            crossings.append(Crossing(Limit.DESIGN, name, stocks[name].design_t, masses[name]))
    held_before = inventory.live(now)
    held_after = tuple(stocks[name].held(mass) for name, mass in masses.items())
    before = level_of(held_before, inventory.people, tables)
    after = level_of(held_after, inventory.people, tables)
    crossings += _of_grade(inventory, after, tables)
    return Prospect(held_before, before, held_after, after, tuple(crossings))


def _of_tanks(stock: Stock, change: Change, now: datetime) -> list[Crossing]:
    if not stock.gauges:
        return [Crossing(Limit.NOT_READ, stock.name, None, None)] if change.add_t > 0 else []
    gauges = {gauge.device: gauge for gauge in stock.gauges}
    asked = list(gauges.values()) if change.device is None else [gauges[change.device]]
    found = []
    for gauge in asked:
        mass_t, known = gauge.mass_t(now)
        if known is not Known.MEASURED:
            found.append(Crossing(Limit.NOT_READ, gauge.device, None, None))
        elif change.device is not None and mass_t + change.add_t > gauge.tank.full_t:
            would_be = round(mass_t + change.add_t, 3)
            found.append(Crossing(Limit.TANK, gauge.device, gauge.tank.full_t, would_be))
    return found


def _of_grade(inventory: Inventory, after: Level, tables: Tables) -> list[Crossing]:
    allowed = inventory.registered or inventory.design_level(tables).grade
    if not worse(after.grade, allowed):
        return []
    if allowed is None:
        return [Crossing(Limit.THRESHOLD, "S", 1.0, after.s)]
    bound = next(least for least, grade in tables.grades if grade == allowed - 1)
    return [Crossing(Limit.GRADE, "R", bound, after.r)]


NOTABLE: Final = 0.05
"""Share by which R must move to be written down while nothing else changed (house)."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A live level as it was written down."""

    revision: int
    """Of the inventory it followed from."""
    r: float
    grade: int | None


def reason_to_note(last: Noted | None, now: Noted) -> str | None:
    """Why a level is to be written down: inventory, grade or quantity; None: it is as it was."""
    if last is None or last.revision != now.revision:
        return "inventory"
    if last.grade != now.grade:
        return "grade"
    return "quantity" if abs(now.r - last.r) > NOTABLE * last.r else None
