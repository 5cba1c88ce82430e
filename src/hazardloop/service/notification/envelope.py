"""What is sent, and what came of sending it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ANSWER_KEPT: Final = 500
"""Characters of a provider's answer that are kept."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message in its forms."""

    key: str
    """The same each time this message goes over this channel: a repeat is known by it."""
    title: str
    text: str
    short: str
    """For SMS: everything that counts, in one or two parts."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a provider made of it."""

    taken: bool
    answer: str

    def without(self, *secrets: str | None) -> "Outcome":
        """The same, its answer cut, with these left out should a provider have repeated them."""
        answer = self.answer
        for secret in secrets:
            if secret:
                answer = answer.replace(secret, "…")
        return Outcome(self.taken, answer.replace("\x00", "")[:ANSWER_KEPT])
