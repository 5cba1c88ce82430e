"""The formula under a figure in the language of who reads it."""

from typing import Annotated

from fastapi import Header

from hazardloop.reports.formulas import ZH

ReadIn = Annotated[
    str | None,
    Header(alias="Accept-Language", description="`zh…`: `formula` in Chinese, English otherwise."),
]


def formula_in(language: str | None, name: str, english: str) -> str:
    """The formula of that name, a key of ZH, for what a browser says it reads."""
    return ZH[name] if (language or "").lower().startswith("zh") else english
