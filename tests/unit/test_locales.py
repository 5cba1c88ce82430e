"""The console's catalogues: both languages say the same things, and nothing is said in vain."""

import json
import re
from pathlib import Path

import pytest

CONSOLE = Path(__file__).parents[2] / "console"
LANGUAGES = ("zh-CN", "en")
LITERAL = re.compile(r"""\bt\(\s*["'`]([a-zA-Z_]+(?:\.[a-zA-Z0-9_]+)+)["'`]""")
TERNARY = re.compile(r"""["']([a-zA-Z_]+\.[a-zA-Z0-9_]+)["']""")
LIST = re.compile(
    r"""\bword\(\s*["'](\w+)["']|\bt\(`(\w+)\.\w*\$\{|key = `(\w+)\.|byStatus = `(\w+)\."""
)
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def flat(tree: dict[str, object], above: str = "") -> dict[str, str]:
    """The texts of a catalogue under their dotted keys."""
    texts: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            texts |= flat(value, f"{above}{key}.")
        else:
            assert isinstance(value, str), f"{above}{key} is no text"
            texts[f"{above}{key}"] = value
    return texts


def each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON; of two texts of one name the first would be lost unseen."""
    names = [name for name, _ in pairs]
    assert sorted(names) == sorted(set(names))
    return dict(pairs)


def catalogue(language: str) -> dict[str, str]:
    """The texts of one language."""
    path = CONSOLE / "locales" / f"{language}.json"
    return flat(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_once))


def sources() -> str:
    """All source text of the console."""
    paths = sorted((CONSOLE / "src").rglob("*"))
    return "\n".join(p.read_text(encoding="utf-8") for p in paths if p.suffix in {".ts", ".vue"})


def test_both_languages_have_the_same_keys() -> None:
    chinese, english = (set(catalogue(language)) for language in LANGUAGES)
    assert sorted(chinese - english) == []
    assert sorted(english - chinese) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty(language: str) -> None:
    assert [key for key, text in catalogue(language).items() if not text.strip()] == []


def test_a_text_names_the_same_values_in_both_languages() -> None:
    chinese, english = (catalogue(language) for language in LANGUAGES)
    differing = [
        key
        for key in chinese
        if set(PLACEHOLDER.findall(chinese[key])) != set(PLACEHOLDER.findall(english[key]))
    ]
    assert differing == []


def test_every_text_that_the_console_asks_for_exists() -> None:
    asked = set(LITERAL.findall(sources()))
    assert len(asked) > 50, "the pattern no longer finds the keys"
    assert sorted(asked - set(catalogue("zh-CN"))) == []


def test_no_text_is_kept_that_nothing_asks_for() -> None:
    text = sources()
    asked = set(LITERAL.findall(text)) | set(TERNARY.findall(text))
    lists = {name for found in LIST.findall(text) for name in found if name}
    unused = [
        key for key in catalogue("zh-CN") if key not in asked and key.split(".")[0] not in lists
    ]
    assert unused == []
