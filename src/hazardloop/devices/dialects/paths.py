"""Paths into JSON: the part of JMESPath that looks and does not build.

Functions and lists made of parts are left out: with them a short expression can make an answer of
any size, and a worker must not be stopped by a profile.
"""

from collections.abc import Iterator
from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

PLAIN: Final = frozenset({"field", "subexpression", "index", "index_expression", "current"})
"""Steps that cost the same whatever the payload holds."""
SEARCHING: Final = frozenset(
    {
        "slice", "projection", "value_projection", "flatten", "filter_projection", "comparator",
        "and_expression", "or_expression", "not_expression", "literal", "identity", "pipe",
    }
)  # fmt: skip
"""Steps that may look at every value in the payload."""


def compiled(text: str) -> ParsedResult:
    """The path of this text. ValueError: it is none, or does more than look."""
    try:
        path = jmespath.compile(text)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(f"{text!r:.80} is no JMESPath: {_first_line(error)}") from error
    for kind in _kinds(path.parsed):
        if kind not in PLAIN | SEARCHING:
            raise ValueError(f"{text!r:.80}: {kind.replace('_', ' ')} is not allowed in a path")
    return path


def is_plain(path: ParsedResult) -> bool:
    """Whether it costs the same whatever the payload holds."""
    return all(kind in PLAIN for kind in _kinds(path.parsed))


def _kinds(node: dict[str, Any]) -> Iterator[str]:
    nodes = [node]
    while nodes:
        node = nodes.pop()
        yield node["type"]
        nodes += [child for child in node["children"] if isinstance(child, dict)]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
