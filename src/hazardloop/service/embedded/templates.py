"""Configuration of the embedded servers, rendered from deploy/templates."""

import os
from importlib import resources
from pathlib import Path
from string import Template


def render(name: str, **values: object) -> str:
    """The template `name` with its `${...}` filled in. KeyError: one of them was not given."""
    folder = resources.files("hazardloop.service") / "templates"
    return Template((folder / name).read_text(encoding="utf-8")).substitute(values)


def write_private(path: Path, text: str) -> None:
    """Replaces `path` in one step, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)
