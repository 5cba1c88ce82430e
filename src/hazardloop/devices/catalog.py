"""Kinds of device and the quantities they measure, read from the catalogue files."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from hazardloop.devices.marked_yaml import FileRefused, Marked, Problem, problems_of, read_marked

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]

STRICT: Final = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)
"""How every catalogue and rule file is read: nothing unknown, nothing guessed."""


class QuantityType(StrEnum):
    """What the values of a quantity are."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Plausible:
    """How a number can be expected to behave; what behaves otherwise is flagged, never dropped."""

    gap_s: float
    """After a longer silence nothing is concluded from what was said before it."""
    per_s: float | None
    """Fastest change, in the quantity's unit per second."""
    step: float | None
    """Farthest that one reading may lie from the median of the three before it."""
    still_s: float | None
    """Longest that it can stand perfectly still; None: for ever."""
    at_rest: float | None
    """Where it may stand still for ever all the same."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One thing a kind of device measures or reports."""

    code: str
    name: Text
    unit: str
    """UCUM; of booleans and events `1`."""
    type: QuantityType
    low: float
    """Least value that is physically possible, in `unit`; -inf = open."""
    high: float
    resolution: float | None
    """Least step the device tells apart, in `unit`; None = not known."""
    plausible: Plausible | None = None
    """None: any course of it is believed."""


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of device as its catalogue file describes it."""

    code: str
    name: Text
    expected_interval_s: float
    """How often one reports, unless the device says otherwise."""
    quantities: Mapping[str, Quantity]
    rules: tuple[Mapping[str, Any], ...]
    """Bodies of its default rules, as written; alarms/rules.py reads them."""
    marked: Marked
    """The file, for messages about the rules."""
    internal: bool = False
    """The service itself makes and measures devices of it."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All kinds of device, by code."""

    kinds: Mapping[str, DeviceKind]

    def quantity(self, kind: str, code: str) -> Quantity | None:
        """That quantity of that kind, or None where either is not known."""
        known = self.kinds.get(kind)
        return known.quantities.get(code) if known else None


class TextIn(BaseModel):
    """Words in both languages, as a file gives them."""

    model_config = STRICT

    zh: Words
    en: Words

    def text(self) -> Text:
        """The core's form of it."""
        return Text(self.zh, self.en)


class _PlausibleIn(BaseModel):
    model_config = STRICT

    gap_s: Annotated[float, Field(gt=0, le=86_400)]
    per_s: Annotated[float, Field(gt=0)] | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    still_s: Annotated[float, Field(gt=0)] | None = None
    at_rest: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "_PlausibleIn":
        if self.per_s is None and self.step is None and self.still_s is None:
            raise ValueError("plausible: at least one of per_s, step, still_s is needed")
        if self.at_rest is not None and self.still_s is None:
            raise ValueError("plausible: at_rest is an exception to still_s, which is missing")
        return self


class _QuantityIn(BaseModel):
    model_config = STRICT

    name: TextIn
    unit: Words
    type: Literal["number", "boolean", "event"] = "number"
    range: Annotated[list[float | None], Field(min_length=2, max_length=2)] | None = None
    resolution: Annotated[float, Field(gt=0)] | None = None
    plausible: _PlausibleIn | None = None

    @model_validator(mode="after")
    def _range_fits_the_type(self) -> "_QuantityIn":
        if self.type != "number":
            if self.range is not None or self.unit != "1":
                raise ValueError(f"a {self.type} has the unit '1' and no range: it is 0 or 1")
            if self.plausible is not None:
                raise ValueError(f"a {self.type} jumps and stands still: plausible is for numbers")
        elif self.range is None:
            raise ValueError("a number needs its range: [least, most] possible; null = open")
        elif None not in self.range and not self.range[0] < self.range[1]:  # type: ignore[operator]
            raise ValueError(f"range: found {self.range}, the first must be below the second")
        return self

    def quantity(self, code: str) -> Quantity:
        low, high = self.range or (0.0, 1.0)
        return Quantity(
            code=code,
            name=self.name.text(),
            unit=self.unit,
            type=QuantityType(self.type),
            low=-math.inf if low is None else low,
            high=math.inf if high is None else high,
            resolution=self.resolution,
            plausible=Plausible(**self.plausible.model_dump()) if self.plausible else None,
        )


class _KindIn(BaseModel):
    model_config = STRICT

    kind: Code
    name: TextIn
    internal: bool = False
    expected_interval_s: Annotated[float, Field(gt=0)]
    quantities: Annotated[dict[Code, _QuantityIn], Field(min_length=1)]
    rules: list[dict[str, Any]] = []


def read_kind(marked: Marked) -> DeviceKind:
    """The kind of device that a catalogue file describes. FileRefused: it does not."""
    try:
        given = _KindIn.model_validate(marked.value)
    except ValidationError as error:
        raise FileRefused(problems_of(error.errors(), marked, "device kind")) from error
    return DeviceKind(
        code=given.kind,
        name=given.name.text(),
        expected_interval_s=given.expected_interval_s,
        quantities={code: each.quantity(code) for code, each in given.quantities.items()},
        rules=tuple(given.rules),
        marked=marked,
        internal=given.internal,
    )


def load_catalog(texts: Mapping[str, str]) -> Catalog:
    """The catalogue of these files, name to text.

    Raises:
        FileRefused: with all problems of all files, each with its line.
    """
    kinds: dict[str, DeviceKind] = {}
    problems: list[Problem] = []
    for file, text in texts.items():
        try:
            kind = read_kind(read_marked(text, file))
        except FileRefused as refused:
            problems += refused.problems
            continue
        if kind.code in kinds:
            other = kinds[kind.code].marked.file
            problems.append(kind.marked.problem(("kind",), f"{kind.code!r} is already in {other}"))
        kinds[kind.code] = kind
    if problems:
        raise FileRefused(problems)
    return Catalog(MappingProxyType(kinds))


@cache
def shipped_catalog() -> Catalog:
    """The kinds of device that come with the service, read once in a process."""
    folder = resources.files("hazardloop") / "catalogue"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=str)
    return load_catalog({file.name: file.read_text("utf-8") for file in files})


def read_catalog(paths: Iterable[Path]) -> Catalog:
    """The catalogue of these files. FileRefused: a file is wrong; OSError: it cannot be read."""
    return load_catalog({str(path): path.read_text("utf-8") for path in paths})


def kind_json(kind: DeviceKind) -> dict[str, Any]:
    """A kind as the API shows it: the words of its file, rules as written."""
    return {
        "code": kind.code,
        "name": {"zh": kind.name.zh, "en": kind.name.en},
        "expected_interval_s": kind.expected_interval_s,
        "quantities": [
            {
                "code": each.code,
                "name": {"zh": each.name.zh, "en": each.name.en},
                "unit": each.unit,
                "type": each.type.value,
                "range": [_closed(each.low), _closed(each.high)],
                "resolution": each.resolution,
                "plausible": asdict(each.plausible) if each.plausible else None,
            }
            for each in kind.quantities.values()
        ],
        "rules": [dict(rule) for rule in kind.rules],
    }


def _closed(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
