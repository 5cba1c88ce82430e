"""YAML text as plain values that remember their lines, so that a refusal can point at one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml
from pydantic_core import ErrorDetails

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices that lead from the top of a document to one value."""

MOST_VALUES: Final = 100_000
"""In one document, aliases counted each time: a few lines of YAML could grow without end."""
DEEPEST: Final = 20
"""Levels of nesting in one document."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file."""

    file: str
    line: int
    message: str
    path: Path = ()
    """Where in the file, or in the part of it that was looked at."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class FileRefused(ValueError):
    """A file cannot be used; every problem found in it is named, nothing of it was taken."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Marked:
    """A value from a file, and the line on which each part of it begins."""

    file: str
    value: Any
    lines: Mapping[Path, int]
    """From 1."""

    def line(self, path: Path) -> int:
        """Where `path` begins, or the nearest thing around it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path, message: str) -> Problem:
        """`message` about the value at `path`."""
        return Problem(self.file, self.line(path), message, path)

    def at(self, *path: str | int) -> "Marked":
        """The part at `path`, with its own marks. KeyError, IndexError: there is none."""
        value = self.value
        for step in path:
            value = value[step]
        depth = len(path)
        lines = {key[depth:]: line for key, line in self.lines.items() if key[:depth] == path}
        return Marked(self.file, value, lines)


def read_marked(text: str, file: str) -> Marked:
    """The one document of `text`. FileRefused: not YAML, a key twice, or beyond all measure."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # a character that no YAML may hold
        raise FileRefused([Problem(file, 1, f"not YAML: {error}")]) from error
    try:
        node = loader.get_single_node()
        if node is None:
            raise FileRefused([Problem(file, 1, "the file is empty")])
        lines: dict[Path, int] = {}
        for path, part in _walk(node, (), file):
            lines[path] = part.start_mark.line + 1
            if len(lines) > MOST_VALUES:
                raise FileRefused([Problem(file, 1, f"more than {MOST_VALUES} values")])
        return Marked(file, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise FileRefused([Problem(file, line, f"not YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise FileRefused([Problem(file, 1, f"not YAML: {error}")]) from error
    finally:
        loader.dispose()


def _walk(node: yaml.Node, path: Path, file: str) -> Iterator[tuple[Path, yaml.Node]]:
    yield path, node
    if len(path) >= DEEPEST:
        line = node.start_mark.line + 1
        raise FileRefused([Problem(file, line, f"nested deeper than {DEEPEST} levels")])
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                line = key.start_mark.line + 1
                raise FileRefused([Problem(file, line, f"{name!r} is given twice")])
            seen.add(name)
            # The line of the key: of a long text the value may begin a line later.
            for inner, part in _walk(value, (*path, name), file):
                yield inner, key if inner == (*path, name) else part
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index), file)


def problems_of(errors: Sequence[ErrorDetails], marked: Marked, what: str) -> list[Problem]:
    """What pydantic found wrong with `marked`, each with its line and the thing it is about."""
    return [
        marked.problem(error["loc"], f"{what}: {_place(error['loc'])}{_said(error)}")
        for error in errors
    ]


def _place(path: Path) -> str:
    return f"{'.'.join(str(step) for step in path)}: " if path else ""


def _said(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "there is no such field"
        case "missing":
            return "it is needed and missing"
        case "value_error":
            return str(error["ctx"]["error"])
    found = error["input"]
    return f"found {found!r}, {error['msg'][0].lower()}{error['msg'][1:]}"
