"""What bodies and answers have in common."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from hazardloop.devices.instants import rfc3339

CODE_FORM = r"^[A-Za-z0-9_-]{1,64}$"

Code = Annotated[
    str, Field(pattern=CODE_FORM, description="Letters, digits, `_`, `-`; at most 64.")
]
"""As it stands in a topic or payload."""
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]
"""What a person writes; the database takes no NUL."""


Instant = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A UTC instant, as RFC 3339 with milliseconds."""


class Body(BaseModel):
    """What a client sends; a key that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Out(BaseModel):
    """What the service answers."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Ref(Out):
    """Which one is meant, wherever another thing points at it."""

    id: int
    code: str
    name: str
