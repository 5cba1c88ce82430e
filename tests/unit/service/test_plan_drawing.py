"""Drawings of plans: what comes through can only be looked at."""

import json

import pytest

from hazardloop.service.errors import PlanRefused
from hazardloop.service.plan_drawing import MOST_CHARACTERS, MOST_DEPTH, drawing_of

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def svg(inside: str, attributes: str = 'viewBox="0 0 60 40"') -> str:
    return f"{HEAD} {attributes}>{inside}</svg>"


def test_a_drawing_comes_through_as_it_was_drawn() -> None:
    inside = (
        '<g id="a"><path d="M0 0L5 5" stroke="#123456"/></g><text x="1" y="2">3号 &amp; 罐</text>'
    )
    found = drawing_of(svg(inside))
    assert found.box == (0, 0, 60, 40)
    assert found.svg == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 60 40"><g id="a">'
        '<path d="M0 0L5 5" stroke="#123456"></path></g><text x="1" y="2">3号 &amp; 罐</text></svg>'
    )
    assert found.left_out == ()
    assert drawing_of(found.svg) == found


def test_a_style_becomes_attributes_and_what_is_unknown_is_left_out_and_told() -> None:
    found = drawing_of(
        svg(
            '<metadata><x/>text</metadata><style>@import url(http://a/b)</style><image width="5"/>'
            '<rect style="fill: red !important; position:fixed; stroke:blue" data-x="1" width="5"/>'
        )
    )
    assert 'fill="red" stroke="blue" width="5"' in found.svg
    assert found.left_out == ("data-x", "image", "metadata", "position", "style")
    assert "import" not in found.svg
    assert "text" not in found.svg


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (svg("<script>alert(1)</script>"), "holds a script"),
        (svg("<g><SCRIPT/></g>"), "holds a SCRIPT"),
        (svg('<x:script xmlns:x="urn:x"/>'), "holds a script"),
        (svg("<metadata><foreignObject/></metadata>"), "holds a foreignObject"),
        (svg('<g onclick="a()"/>'), "attribute onclick"),
        (svg("", 'viewBox="0 0 6 4" onload="a()"'), "attribute onload"),
        (svg('<use href="http://abroad/a.svg#b"/>'), "refers to"),
        (svg('<use xlink:href="javascript:alert(1)"/>'), "refers to"),
        (svg('<image xlink:href="//abroad/a.png"/>'), "refers to"),
        (svg('<rect fill="url(http://abroad/a)"/>'), "refers to"),
        (svg('<rect style="fill:url( &quot;//abroad&quot; )"/>'), "refers to"),
        (svg('<rect fill="url(#a"/>'), "cannot be read"),
        (svg(r'<rect fill="\75rl(x)"/>'), "no plain value"),
        ("<!DOCTYPE svg [<!ENTITY a 'b'>]>" + svg("&a;"), "DOCTYPE"),
        ('<?xml-stylesheet href="a.css"?>' + svg(""), "instruction"),
        (svg("", ""), "viewBox"),
        (svg("", 'viewBox="0 0 0 4"'), "above 0"),
        (svg("", 'viewBox="0 0 nan 4"'), "finite"),
        (svg("<g>" * MOST_DEPTH + "</g>" * MOST_DEPTH), "within each other"),
        (svg("<g>"), "not well formed"),
        ('<html xmlns="http://www.w3.org/1999/xhtml"/>', "no SVG"),
        ("<svg/>", "no SVG"),
        ("plan", "beginning with"),
        ("", "beginning with"),
        ("<" + "a" * MOST_CHARACTERS, "characters"),
    ],
)
def test_what_could_act_or_is_no_drawing_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(PlanRefused, match=reason):
        drawing_of(text)


def test_width_and_height_stand_in_for_a_box() -> None:
    assert drawing_of(svg("", 'width="30px" height="2e1"')).box == (0, 0, 30, 20)


def test_areas_and_lines_in_metres_become_a_drawing_with_north_above() -> None:
    area = {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 50], [0, 0]]]}
    road = {"type": "MultiLineString", "coordinates": [[[0, 10], [100, 10]]]}
    features = [
        {"type": "Feature", "geometry": area, "properties": {"name": "<罐区>"}},
        {"type": "Feature", "geometry": road, "properties": None},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}},
    ]
    found = drawing_of(json.dumps({"type": "FeatureCollection", "features": features}))
    assert found.box == (-4, -54, 108, 58)
    assert 'd="M0 0L100 0L100 -50L0 0Z"' in found.svg
    assert "&lt;罐区&gt;" in found.svg
    assert drawing_of(found.svg).left_out == ()


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": "LineString", "coordinates": [[0, 0], [1, "a"]]},
        {"type": "LineString", "coordinates": [[0, 0], [1]]},
        {"type": "LineString", "coordinates": 5},
        {"type": "FeatureCollection", "features": [3]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, True]]]},
    ],
)
def test_geojson_without_finite_positions_is_refused(document: object) -> None:
    with pytest.raises(PlanRefused, match="GeoJSON"):
        drawing_of(json.dumps(document))
    with pytest.raises(PlanRefused, match="GeoJSON"):
        drawing_of('{"type": "LineString", "coordinates": [[0, 0], [1, NaN]]}')
