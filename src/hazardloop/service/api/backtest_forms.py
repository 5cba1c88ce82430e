"""What is asked and answered about backtests."""

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from hazardloop.service.api.schema import Body, Instant, Out

QUESTION: Final[dict[str, Any]] = {
    "rules": [
        {
            "id": "gas_detector.lel.high",
            "kind": "threshold",
            "quantity": "lel",
            "name": {"zh": "可燃气体浓度高", "en": "Combustible gas high"},
            "select": {"kind": "gas_detector"},
            "high": {"yellow": 20, "orange": 50},
            "deadband": 2,
            "source": "house",
            "confidence": "house",
            "guidance": {"zh": "查漏。", "en": "Look for the leak."},
        }
    ],
    "from": "2026-11-14T16:00:00Z",
    "to": "2026-11-21T16:00:00Z",
    "sweep": {"high.yellow": [20, 25], "on_delay_s": [0, 30]},
}
EXAMPLE: Final[dict[str, Any]] = {
    "id": 4,
    "state": "running",
    "progress": {"share": 0.42, "readings": 8_210_400},
    "enterprise": None,
    "from": "2026-11-14T16:00:00.000Z",
    "to": "2026-11-21T16:00:00.000Z",
    "rules": ["gas_detector.lel.high"],
    "asked_by": "supervisor",
    "asked_at": "2026-11-22T01:12:07.120Z",
    "begun_at": "2026-11-22T01:12:08.030Z",
    "ended_at": None,
    "failure": None,
}
ANSWER: Final[dict[str, Any]] = {
    "points": 1120,
    "readings": 19_353_600,
    "today": {"alarms": 212, "per_day": 30.286, "missed_true_events": 0},
    "candidate": {"alarms": 340, "per_day": 48.571, "missed_true_events": 0},
    "episodes": {"kept": 212, "lost": 0, "gained": 128, "added_delay_s": {"p50": -12.0}},
}

Values = Annotated[list[Any], Field(min_length=1, max_length=100)]


class BacktestIn(Body):
    """Which rules, over which time."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [QUESTION]}, populate_by_name=True, extra="forbid"
    )
    rules: list[dict[str, Any]] = Field(
        min_length=1, max_length=100, description="Each as in a rule file."
    )
    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to", description="The first instant after it.")
    instead_of: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[],
        max_length=100,
        description="Rules in force that they replace, beside those of their own ids.",
    )
    sweep: dict[Annotated[str, Field(max_length=200)], Values] = Field(
        default={},
        max_length=6,
        description="Fields of the one rule, such as `high.yellow`, `deadband` or `on_delay_s`,"
        " each with values to try: every combination is a line of a table.",
    )
    seats: int = Field(default=1, ge=1, le=1_000, description="Operator positions.")
    enterprise: str | None = Field(
        default=None,
        max_length=64,
        description="Id or code; if not given the whole district, of an enterprise's user its own.",
    )


class ProgressOut(Out):
    """How far it is."""

    share: float = Field(description="0 to 1, of the time that is replayed.")
    readings: int


class BacktestOut(Out):
    """A backtest and how far it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]}, populate_by_name=True)
    id: int
    state: Literal["planned", "running", "done", "failed", "cancelled"]
    progress: ProgressOut
    enterprise: str | None = Field(description="Null: of the whole district.")
    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    rules: list[str] = Field(description="Ids of the candidates.")
    asked_by: str
    asked_at: Instant
    begun_at: Instant | None
    ended_at: Instant | None
    failure: str | None = Field(description="What kept it from its end, and what to do.")


class BacktestWithResult(BacktestOut):
    """The same with what was asked, and what came of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                EXAMPLE
                | {"state": "done", "progress": {"share": 1.0, "readings": 19_353_600}}
                | {"ended_at": "2026-11-22T01:12:31.300Z", "question": QUESTION, "result": ANSWER}
            ]
        },
        populate_by_name=True,
    )
    question: dict[str, Any]
    result: dict[str, Any] | None = Field(
        description="`today` and `candidate`: alarms raised in the period by live data (`per_day`,"
        " `per_operator_hour`, `per_shift` of 8 h, `tiers`, `days`, `chattering`), and what became"
        " of alarms with a verdict. `episodes`: of only one of both, by point and overlapping time;"
        " `added_delay_s` of those in both. `sweep.variants`: `pareto` where no other has fewer"
        " alarms and misses no more true events. All follow from docs/rules.md."
    )
