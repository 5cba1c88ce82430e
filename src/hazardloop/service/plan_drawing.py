"""Drawings of plans made safe: an SVG is read event by event and written anew from a list of what
is allowed; GeoJSON in metres becomes such an SVG.

What could act (scripts, event attributes, foreign content, addresses outside, entities) is refused;
what is only unknown is left out and told. Everything is bounded before it is built.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from hazardloop.service.errors import PlanRefused

MOST_CHARACTERS: Final = 900_000
"""Of what is sent; source: project decision, below the bound of every body."""
MOST_ELEMENTS: Final = 50_000
MOST_DEPTH: Final = 100
MOST_POSITIONS: Final = 200_000
SVG: Final = "http://www.w3.org/2000/svg"


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w-]+", text))


ELEMENTS: Final = _words(
    "svg g defs symbol use path rect circle ellipse line polyline polygon text tspan clipPath mask"
    " pattern linearGradient radialGradient stop marker"
)
REFUSED: Final = _words("script foreignobject iframe embed object handler listener audio video")
ATTRIBUTES: Final = _words(
    "id class x y x1 y1 x2 y2 cx cy r rx ry fx fy width height d points transform viewBox offset"
    " preserveAspectRatio gradientUnits gradientTransform spreadMethod patternUnits"
    " patternTransform patternContentUnits clipPathUnits maskUnits maskContentUnits markerWidth"
    " markerHeight refX refY orient markerUnits dx dy rotate textLength lengthAdjust pathLength"
)
PROPERTIES: Final = _words(
    "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin"
    " stroke-miterlimit stroke-dasharray stroke-dashoffset opacity display visibility clip-path"
    " clip-rule mask marker-start marker-mid marker-end stop-color stop-opacity font-size"
    " font-family font-weight font-style text-anchor dominant-baseline letter-spacing color"
    " vector-effect"
)
_VALUE: Final = re.compile(r"[^<>\\@{};]*")
_URL: Final = re.compile(r"url\(\s*(['\"]?)(.*?)\1\s*\)", re.IGNORECASE)
_LOCAL: Final = re.compile(r"#[\w.\-:]+")
_LENGTH: Final = re.compile(r"\s*([\d.eE+\-]+)\s*(?:px)?\s*")

Box = tuple[float, float, float, float]
"""Left, top, width, height in the drawing's own units."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing that can do nothing but be looked at."""

    svg: str
    box: Box
    left_out: tuple[str, ...]
    """Names of elements and attributes that were not taken over, sorted."""


def drawing_of(text: str) -> Drawing:
    """The clean drawing of an SVG or of GeoJSON. PlanRefused: it is neither, or could act."""
    if len(text) > MOST_CHARACTERS:
        raise PlanRefused(f"the drawing has {len(text)} characters, taken are {MOST_CHARACTERS}")
    first = text.lstrip("\ufeff \t\r\n")[:1]
    if first == "<":
        return _Cleaner().clean(text)
    if first == "{":
        return _of_geojson(text)
    raise PlanRefused("a drawing is an SVG, beginning with <, or GeoJSON, beginning with {")


@dataclass
class _Cleaner:
    """Reads one SVG."""

    out: list[str] = field(default_factory=list)
    depth: int = 0
    elements: int = 0
    skipping: int = 0
    """Depth from which on everything is left out; 0 = nothing is."""
    box: Box | None = None
    left_out: set[str] = field(default_factory=set)

    def clean(self, text: str) -> Drawing:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise PlanRefused(f"the SVG is not well formed: {error}") from error
        assert self.box is not None  # a document has a root, and a root without a box is refused
        return Drawing("".join(self.out), self.box, tuple(sorted(self.left_out)))

    def _doctype(self, *_: Any) -> None:
        raise PlanRefused("the SVG has a DOCTYPE or entities: save it as plain SVG")

    def _instruction(self, target: str, _: str) -> None:
        if target.lower() != "xml":
            raise PlanRefused(f"the SVG has an instruction {target!r}: style sheets are not taken")

    def _start(self, name: str, given: Mapping[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        if self.elements > MOST_ELEMENTS or self.depth > MOST_DEPTH:
            raise PlanRefused(
                f"more than {MOST_ELEMENTS} elements, or more than {MOST_DEPTH} within each other"
            )
        space, _, local = name.rpartition(" ")
        if local.lower() in REFUSED:
            raise PlanRefused(f"the SVG holds a {local}: scripts and foreign content are not taken")
        kept = self._attributes(given)
        if self.depth == 1:
            if (space, local) != (SVG, "svg"):
                raise PlanRefused(
                    "the drawing is no SVG: its root must be svg of the SVG namespace"
                )
            self.box = _box(given)
            kept = {"viewBox": " ".join(f"{side:.12g}" for side in self.box)}
        if self.skipping:
            return
        if space != SVG or local not in ELEMENTS:
            self.left_out.add(local)
            self.skipping = self.depth
            return
        shown = "".join(f" {attribute}={quoteattr(value)}" for attribute, value in kept.items())
        self.out.append(f"<{local}{' xmlns=' + quoteattr(SVG) if self.depth == 1 else ''}{shown}>")

    def _end(self, name: str) -> None:
        if not self.skipping:
            self.out.append(f"</{name.rpartition(' ')[2]}>")
        elif self.skipping == self.depth:
            self.skipping = 0
        self.depth -= 1

    def _text(self, text: str) -> None:
        if not self.skipping:
            self.out.append(escape(text))

    def _attributes(self, given: Mapping[str, str]) -> dict[str, str]:
        kept = {}
        for name, value in given.items():
            space, _, local = name.rpartition(" ")
            if local.lower().startswith("on"):
                raise PlanRefused(f"the SVG has an attribute {local}: it could act")
            if local == "href":
                kept["href"] = _local_address(value)
            elif space:
                self.left_out.add(local)
            elif local == "style":
                kept |= self._style(value)
            elif local in ATTRIBUTES or local in PROPERTIES:
                kept[local] = _harmless(local, value)
            else:
                self.left_out.add(local)
        return kept

    def _style(self, value: str) -> dict[str, str]:
        """The declarations of a style attribute, as attributes of their own."""
        found = {}
        for declaration in value.split(";"):
            name, colon, said = declaration.partition(":")
            name, said = name.strip().lower(), said.replace("!important", "").strip()
            if colon and name in PROPERTIES:
                found[name] = _harmless(name, said)
            elif colon:
                self.left_out.add(name)
        return found


def _local_address(value: str) -> str:
    if not _LOCAL.fullmatch(value.strip()):
        raise PlanRefused(
            f"the SVG refers to {value[:80]!r}: only its own parts may be referred to"
        )
    return value.strip()


def _harmless(name: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise PlanRefused(f"the SVG has a {name} that is no plain value: {value[:80]!r}")
    for _, address in _URL.findall(value):
        _local_address(address)
    if "url(" in _URL.sub("", value).lower():
        raise PlanRefused(f"the SVG has a {name} with an address that cannot be read")
    return value


def _box(root: Mapping[str, str]) -> Box:
    """From viewBox, else from width and height. PlanRefused: neither says it."""
    sides = re.split(r"[\s,]+", root.get("viewBox", "").strip())
    if sides == [""]:
        sides = ["0", "0"]
        for name in ("width", "height"):
            found = _LENGTH.fullmatch(root.get(name, ""))
            sides.append(found[1] if found else "")
    try:
        left, top, width, height = map(float, sides)
    except ValueError as error:
        raise PlanRefused("the SVG must have a viewBox, or width and height in pixels") from error
    box = (left, top, width, height)
    if not all(map(math.isfinite, box)) or width <= 0 or height <= 0:
        raise PlanRefused("the SVG's viewBox must be of finite numbers, width and height above 0")
    return box


MARGIN: Final = 0.04
Line = list[tuple[float, float]]


def _of_geojson(text: str) -> Drawing:
    """Areas and lines in metres, x to the east and y to the north, drawn plainly."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanRefused(f"the GeoJSON cannot be read: {error}") from error
    shapes = list(_shapes(document))
    everything = [position for _, lines, _ in shapes for line in lines for position in line]
    if not 2 <= len(everything) <= MOST_POSITIONS:
        raise PlanRefused(
            f"the GeoJSON must have lines or areas with 2 to {MOST_POSITIONS} positions"
        )
    box = _around(everything)
    thin = max(box[2], box[3]) / 800
    drawn = "".join(_drawn(*shape, thin) for shape in shapes)
    view = " ".join(f"{side:.12g}" for side in box)
    return Drawing(f'<svg xmlns="{SVG}" viewBox="{view}">{drawn}</svg>', box, ())


def _shapes(document: Any) -> Iterator[tuple[bool, list[Line], str]]:
    """Whether it is an area, its rings or lines, and its name."""
    features = document.get("features") if isinstance(document, dict) else None
    for one in features if isinstance(features, list) else [document]:
        if not isinstance(one, dict):
            raise PlanRefused("the GeoJSON has a feature that is no object")
        geometry = one.get("geometry", one)
        said = one.get("properties")
        name = said.get("name") if isinstance(said, dict) else None
        kind = geometry.get("type") if isinstance(geometry, dict) else None
        depth = DEPTH.get(str(kind))
        if depth is not None:
            lines = list(_lines(geometry.get("coordinates"), depth))
            yield "Polygon" in str(kind), lines, name if isinstance(name, str) else ""


DEPTH: Final = {"LineString": 0, "Polygon": 1, "MultiLineString": 1, "MultiPolygon": 2}
"""How many lists stand around a line."""


def _lines(coordinates: Any, depth: int) -> Iterator[Line]:
    if not isinstance(coordinates, list):
        raise PlanRefused("the GeoJSON has coordinates that are no list")
    if depth:
        for part in coordinates:
            yield from _lines(part, depth - 1)
    else:
        yield [_position(one) for one in coordinates]


def _position(one: Any) -> tuple[float, float]:
    numbers = one[:2] if isinstance(one, list) else []
    if len(numbers) != 2 or not all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    ):
        raise PlanRefused("the GeoJSON has a position that is not two finite numbers")
    return float(numbers[0]), 0.0 - float(numbers[1])


def _around(positions: Sequence[tuple[float, float]]) -> Box:
    xs, ys = [x for x, _ in positions], [y for _, y in positions]
    left, top, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    room = MARGIN * max(width, height, 1.0)
    return left - room, top - room, width + 2 * room, height + 2 * room


def _drawn(is_area: bool, lines: list[Line], name: str, thin: float) -> str:
    path = "".join(
        "M" + "L".join(f"{x:.8g} {y:.8g}" for x, y in line) + ("Z" if is_area else "")
        for line in lines
        if line
    )
    fill = "#8a96a3" if is_area else "none"
    shape = (
        f'<path d="{path}" fill="{fill}" fill-opacity="0.25" fill-rule="evenodd" stroke="#7b8794"'
        f' stroke-width="{thin:.4g}"/>'
    )
    if not name or not lines or not lines[0]:
        return shape
    x = sum(x for x, _ in lines[0]) / len(lines[0])
    y = sum(y for _, y in lines[0]) / len(lines[0])
    return (
        f'{shape}<text x="{x:.8g}" y="{y:.8g}" text-anchor="middle" fill="#7b8794"'
        f' font-size="{thin * 20:.4g}">{escape(name[:200])}</text>'
    )
