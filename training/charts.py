"""The report's pictures, as SVG in data URIs: nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.curves import Row
from training.limits import Limits

_BLUE, _ORANGE, _GREY = "#2563a8", "#c2571a", "#9aa0a6"
_COLOURS = (_BLUE, _ORANGE, "#3f7d3a", "#7d3f78")
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e6e8",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "scratch",  # equal numbers, equal files
}


def roc(rows: Sequence[Row]) -> str:
    figure, axes = _square("False alarms among clean photos", "Scratches found")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    axes.plot(_column(rows, "false_alarm_rate"), _column(rows, "recall"), color=_BLUE)
    return _uri(figure)


def precision_recall(rows: Sequence[Row], share: float) -> str:
    figure, axes = _square("Scratches found", "True among alarms")
    axes.axhline(share, color=_GREY, linewidth=1, linestyle=":")
    axes.plot(_column(rows, "recall"), _column(rows, "precision"), color=_BLUE)
    return _uri(figure)


def reliability(rows: Sequence[Row]) -> str:
    """Dots on the diagonal are honest; the area of a dot is its share of the photos."""
    figure, axes = _square("Probability of scratches, as answered", "Scratched in truth")
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":")
    x, y = _column(rows, "probability"), _column(rows, "scratched")
    ends = zip(_column(rows, "low"), _column(rows, "high"), strict=True)
    for position, (low, high) in zip(x, ends, strict=True):
        axes.plot([position, position], [low, high], color=_BLUE, linewidth=1, alpha=0.6)
    photos = _column(rows, "photos")
    axes.scatter(x, y, [12 + 150 * count / sum(photos) for count in photos], color=_BLUE)
    return _uri(figure)


def coverage(rows: Sequence[Row], point: tuple[float, float]) -> str:
    """`point`: coverage and error of the certified verdicts."""
    figure, axes = _square("Answered without a person", "Wrong among those")
    axes.plot(_column(rows, "coverage"), _column(rows, "error"), color=_BLUE)
    axes.plot(*point, marker="o", color=_ORANGE)
    axes.set(ylim=(0, max(*_column(rows, "error"), point[1], 0.01) * 1.1), aspect="auto")
    return _uri(figure)


def by_width(limits: Limits) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure((5.2, 3.2), layout="constrained")
        axes = figure.subplots()
    axes.axhline(limits.params.recall, color=_GREY, linewidth=1, linestyle=":")
    for colour, contrast in zip(_COLOURS, limits.params.contrasts, strict=False):
        levels = [level for level in limits.levels if level.contrast == contrast]
        pixels = [level.width * limits.diagonal for level in levels]
        recall = [level.recall for level in levels]
        axes.plot(pixels, recall, marker="o", color=colour, label=f"contrast {contrast:.2f}")
    axes.set(xscale="log", ylim=(-0.03, 1.03), ylabel="Scratches found")
    axes.set_xlabel("Width in pixels of the median photo")
    widths = [width * limits.diagonal for width in limits.params.widths]
    axes.set_xticks(widths, [f"{width:.2g}" for width in widths])
    axes.minorticks_off()
    axes.legend(frameon=False)
    return _uri(figure)


def _square(x: str, y: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(_STYLE):
        figure = Figure((3.5, 3.5), layout="constrained")
        axes = figure.subplots()
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y, aspect="equal")
    return figure, axes


def _column(rows: Sequence[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def _uri(figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue().encode()).decode()
