"""A scenario file, YAML: what `simulate` is asked to play, checked and turned into core types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hazardloop.simulators.errors import ScenarioUnreadable
from hazardloop.simulators.faults import Fault, FaultKind
from hazardloop.simulators.incidents import Hazard

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


@dataclass(frozen=True, slots=True)
class Start:
    """An incident that is asked for by name: what, when (simulated seconds), and where if said."""

    hazard: Hazard
    at_s: float
    device: str | None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What a scored run must at least reach."""

    recall: float = 1.0
    precision: float = 1.0
    delay_p99_s: float = float("inf")
    duplicates: int = 0
    lost: int = 0
    extra: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a run consists of."""

    seed: int = 1
    gateways: int = 56
    points: int = 1200
    interval_s: float = 5.0
    """Simulated seconds between two reports of a gateway."""
    speed: float = 1.0
    first_s: float = 2.0
    every_s: float = 60.0
    hazards: tuple[Hazard, ...] = tuple(Hazard)
    starts: tuple[Start, ...] | None = None
    """Exactly these incidents; None = by rate."""
    faults: tuple[Fault, ...] = ()
    thresholds: Thresholds = Thresholds()

    def real_interval_s(self) -> float:
        """Real seconds between two reports of a gateway."""
        return self.interval_s / self.speed


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rate(_Strict):
    first_s: Annotated[float, Field(ge=0.0)] = 2.0
    every_s: Positive = 60.0
    hazards: list[Hazard] = list(Hazard)


class _Start(_Strict):
    hazard: Hazard
    at_s: Annotated[float, Field(ge=0.0)]
    device: str | None = None


_NEEDS: Final[Mapping[FaultKind, tuple[str, ...]]] = {
    FaultKind.OFFLINE: ("gateway",),
    FaultKind.CLOCK_SKEW: ("seconds",),
    FaultKind.STUCK: ("gateway", "point"),
}


class _Fault(_Strict):
    kind: FaultKind
    gateway: str | None = None
    point: str | None = None
    share: Share = 1.0
    seconds: float = 0.0
    from_s: Annotated[float, Field(ge=0.0)] = 0.0
    for_s: Positive = float("inf")

    @model_validator(mode="after")
    def _says_enough(self) -> "_Fault":
        missing = [name for name in _NEEDS.get(self.kind, ()) if not getattr(self, name)]
        if missing:
            raise ValueError(f"a fault of kind {self.kind} needs {' and '.join(missing)}")
        return self


class _Thresholds(_Strict):
    recall: Share = 1.0
    precision: Share = 1.0
    delay_p99_s: Positive = float("inf")
    duplicates: Annotated[int, Field(ge=0)] = 0
    lost: Annotated[int, Field(ge=0)] = 0
    extra: Annotated[int, Field(ge=0)] = 0


class _ScenarioFile(_Strict):
    seed: int = 1
    gateways: Annotated[int, Field(ge=1, le=5_000)] = 56
    points: Annotated[int, Field(ge=1, le=1_000_000)] = 1200
    interval_s: Positive = 5.0
    speed: Positive = 1.0
    incidents: _Rate | list[_Start] = _Rate()
    faults: list[_Fault] = []
    thresholds: _Thresholds = _Thresholds()


def parse_scenario(text: str, name: str = "scenario") -> Scenario:
    """The scenario that a file holds. ScenarioUnreadable says every place that is wrong."""
    try:
        parsed = _ScenarioFile.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise ScenarioUnreadable(f"{name}: not YAML: {error}") from error
    except ValidationError as error:
        raise ScenarioUnreadable("\n".join(_complaints(name, error))) from error
    return _scenario(parsed)


def _complaints(name: str, error: ValidationError) -> list[str]:
    def place(found: Any) -> str:
        return ".".join(str(part) for part in found["loc"]) or "file"

    return [f"{name}: {place(found)}: {found['msg']}" for found in error.errors()]


def _scenario(parsed: _ScenarioFile) -> Scenario:
    rate = parsed.incidents if isinstance(parsed.incidents, _Rate) else _Rate()
    starts = parsed.incidents if isinstance(parsed.incidents, list) else None
    return Scenario(
        seed=parsed.seed,
        gateways=parsed.gateways,
        points=parsed.points,
        interval_s=parsed.interval_s,
        speed=parsed.speed,
        first_s=rate.first_s,
        every_s=rate.every_s,
        hazards=tuple(rate.hazards),
        starts=None if starts is None else tuple(Start(**start.model_dump()) for start in starts),
        faults=tuple(Fault(**fault.model_dump()) for fault in parsed.faults),
        thresholds=Thresholds(**parsed.thresholds.model_dump()),
    )
