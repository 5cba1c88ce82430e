"""What is asked and answered about reports."""

from datetime import date
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from hazardloop.reports.period import Kind
from hazardloop.service.api.schema import Body, Instant, Out

EXAMPLE: Final[dict[str, Any]] = {
    "id": 17,
    "kind": "weekly",
    "first": "2026-11-16",
    "last": "2026-11-22",
    "enterprise": None,
    "version": 1,
    "by_calendar": True,
    "asked_by": "system",
    "asked_at": "2026-11-22T16:15:20.000Z",
    "due_at": "2026-11-22T16:15:00.000Z",
    "frozen_at": "2026-11-22T16:15:20.412Z",
    "written_at": "2026-11-22T16:15:24.030Z",
    "sha256": "5f0c8be4a1d7f0e29c3b6a58d4471c29e0b3fd1a7c1a4e55b8a9d2f3c4e5a6b7",
    "state": "ready",
    "progress": {"done": 5, "of": 5},
    "files": [
        {
            "format": "xlsx",
            "lang": "zh-CN",
            "size_bytes": 31250,
            "sha256": "0c61f5c0d2e94b7f8a13c55e7d9b20a4f6e8c1d3b5a79f0e2d4c6b8a0f1e3d5c",
        }
    ],
}


class ReportIn(Body):
    """Which report is wanted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"kind": "monthly", "day": "2026-11-01", "enterprise": "E003"}]
        }
    )
    kind: Kind
    day: date = Field(description="Any local day of its period, which may still be running.")
    enterprise: str | None = Field(
        default=None,
        max_length=64,
        description="Id or code; if not given the whole district, of an enterprise's user its own.",
    )


class FileOut(Out):
    """One file of a report."""

    format: str
    lang: str
    size_bytes: int
    sha256: str


class ProgressOut(Out):
    """How far the clerk is: freezing is one step, each file another."""

    done: int
    of: int


class ReportOut(Out):
    """A report and how far it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    id: int
    kind: Kind
    first: date = Field(description="Local days of the service's time zone, both in it.")
    last: date
    enterprise: str | None = Field(description="Null: of the whole district.")
    version: int | None = Field(description="Counts the reports of the same; null until frozen.")
    by_calendar: bool
    asked_by: str
    asked_at: Instant
    due_at: Instant
    frozen_at: Instant | None = Field(description="The instant of all its figures.")
    written_at: Instant | None
    sha256: str | None = Field(description="Of its contents; the ledger has it, too.")
    state: Literal["planned", "frozen", "ready"]
    progress: ProgressOut
    files: list[FileOut]


class ReportWithContents(ReportOut):
    """The same with what it says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                EXAMPLE
                | {
                    "contents": {
                        "report": {"kind": "weekly", "version": 1, "late": False},
                        "handling": {"raised": 412, "closed": 398, "rate": 0.966},
                    }
                }
            ]
        }
    )
    contents: dict[str, Any] | None = Field(
        description="What `/kpi/*` answered when it was frozen, in the same words; `notice` is the"
        " ranked list, `differs` what is another than in the version before."
    )
