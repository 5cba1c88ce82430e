"""Bar charts as drawings for the pages."""

from typing import Any, Final

from reportlab.graphics.charts.barcharts import HorizontalBarChart, VerticalBarChart
from reportlab.graphics.charts.legends import Legend
from reportlab.graphics.shapes import Drawing, String
from reportlab.lib.colors import HexColor

from hazardloop.reports.document import Bars
from hazardloop.reports.headlines import Form

LATIN: Final = "Helvetica"
HAN: Final = "STSong-Light"
"""One of the fonts that every reader of PDF has or replaces by itself: no file is embedded."""
INK: Final = HexColor("#1D2733")
HEAD: Final = HexColor("#24476B")
LINES: Final = HexColor("#C8D2DC")
SERIES: Final = (HEAD, HexColor("#E0922F"))
TITLE_PT: Final = 10
LABEL_PT: Final = 7
STANDING_HEIGHT: Final = 150.0
LYING_ROW: Final = 11.0
"""Height of one lying bar."""
NAMES_WIDTH: Final = 150.0
"""Left of lying bars, for their names."""
NAME_LETTERS: Final = 18
"""Of a name that fits there, in the widest letters."""
MOST_LABELS: Final = 16
"""Under standing bars; with more of them, only every second, third, ... is named."""


def font_of(text: str) -> str:
    """The Latin font if it has all letters of `text`."""
    return LATIN if len(text.encode("cp1252", "ignore")) == len(text) else HAN


def drawing(bars: Bars, width: float) -> Drawing | None:
    """The chart in so many points of width; None where there is no bar to be seen."""
    values = [one for series in bars.series.values() for one in series if one is not None]
    if not values or (max(values) == 0 and bars.form is not Form.SHARE):
        return None
    lying = bars.lying
    thick = LYING_ROW * len(bars.categories) * len(bars.series) + 24
    height = max(thick, 70.0) if lying else STANDING_HEIGHT
    drawn = Drawing(width, height + 40)
    drawn.add(
        String(0, height + 26, bars.title, fontName=font_of(bars.title), fontSize=TITLE_PT,
               fillColor=HEAD)
    )  # fmt: skip
    chart: Any = HorizontalBarChart() if lying else VerticalBarChart()
    left = NAMES_WIDTH if lying else 34.0
    chart.x, chart.y = left, 18
    chart.width, chart.height = width - left - 30, height - 10
    # Lying bars are drawn from below: turned round, the first series is on top.
    order = list(bars.series)[:: -1 if lying else 1]
    chart.data = [list(bars.series[name]) for name in order]
    chart.barSpacing = 0
    chart.groupSpacing = 4
    for nth in range(len(bars.series)):
        chart.bars[nth].fillColor = SERIES[list(bars.series).index(order[nth])]
        chart.bars[nth].strokeColor = None
    _axes(chart, bars, max(values))
    drawn.add(chart)
    if len(bars.series) > 1:
        drawn.add(_legend(bars, width, height + 30))
    return drawn


def _axes(chart: Any, bars: Bars, largest: float) -> None:
    names, axis = chart.categoryAxis, chart.valueAxis
    names.categoryNames = _names(bars)
    for nth, name in enumerate(names.categoryNames):
        names.labels[nth].fontName = font_of(name)
    names.labels.fontSize = axis.labels.fontSize = LABEL_PT
    names.labels.fillColor = axis.labels.fillColor = INK
    names.strokeColor = axis.strokeColor = LINES
    names.visibleTicks = False
    if bars.lying:
        names.reverseDirection = True
        names.labels.boxAnchor = "e"
        names.labels.dx = -4
    axis.valueMin = 0
    axis.visibleGrid = True
    axis.gridStrokeColor = LINES
    axis.gridStrokeWidth = 0.4
    axis.labels.fontName = LATIN
    if bars.form is Form.SHARE:
        axis.valueMax, axis.valueStep = 1, 0.2
        axis.labelTextFormat = _percent
    elif bars.form is Form.COUNT:
        step = max(1, -(-int(largest) // 5))
        axis.valueMax, axis.valueStep = step * -(-int(largest) // step), step
        axis.labelTextFormat = "%d"
    else:
        axis.valueMax = largest * 1.05


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _names(bars: Bars) -> list[str]:
    if bars.lying:
        return [_short(name) for name in bars.categories]
    every = -(-len(bars.categories) // MOST_LABELS)
    return [name if nth % every == 0 else "" for nth, name in enumerate(bars.categories)]


def _short(name: str) -> str:
    """As much of `name` as fits left of its bar; Chinese letters are twice as wide."""
    room = 2 * NAME_LETTERS
    for nth, letter in enumerate(name):
        room -= 2 if ord(letter) > 0x2E80 else 1
        if room < 0:
            return name[: nth - 1] + "…"
    return name


def _legend(bars: Bars, width: float, y: float) -> Any:
    legend: Any = Legend()
    legend.x, legend.y = width - 30, y
    legend.boxAnchor = "ne"
    legend.fontName = font_of("".join(bars.series))
    legend.fontSize, legend.fillColor = LABEL_PT, INK
    legend.alignment = "right"
    legend.columnMaximum = 1
    legend.dx = legend.dy = 6
    legend.deltax = 60
    legend.strokeWidth = 0
    legend.colorNamePairs = list(zip(SERIES, bars.series, strict=False))
    return legend
