"""Log lines: time, level, who, a constant event, then its fields."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""What every log record has; the rest are fields that the caller gave."""


class LineFormatter(logging.Formatter):
    """`2026-11-22T01:02:03.123Z INFO worker batch stored readings=500 lag_ms=12`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one."""
        instant = datetime.fromtimestamp(record.created, UTC)
        at = instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = "".join(
            f" {key}={_shown(value)}" for key, value in vars(record).items() if key not in OWN
        )
        event = record.getMessage().replace("\n", "\\n")
        line = f"{at} {record.levelname} {self._process} {event}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _shown(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not any(sign in text for sign in " \"'=")
    return text if plain else json.dumps(text, ensure_ascii=False)


def configure(process: str, level: str = "INFO") -> None:
    """Sends the log of this process to standard error, one line per event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for talkative in ("uvicorn.access", "psycopg.pool", "httpx", "asyncio"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
