"""Draw calibration, ROC and residuals as SVG with the colours and the font of the page.

Matplotlib is used without its global state. Each colour is a CSS variable of the page, so the same
drawing serves light, dark and print. The same data give the same bytes.
"""

import io
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from refit.review.chart_data import ChartData, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.3, 3.7)
"""Inches at 72 points: 310 by 266 pixels of the page, before it is scaled to its column."""
COLOURS = {"#000001": "--ink", "#000002": "--muted", "#000003": "--rule", "#000004": "--candidate"}
COLOURS |= {"#000005": "--rival"}
INK, MUTED, RULE, CANDIDATE, RIVAL = COLOURS
DASHES = ("-", (0, (6, 2)), (0, (3, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (6, 2, 1, 2, 1, 2)))
"""Lines of classes differ by their dashes, lines of models by their colours."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "refit",
    "font.size": 9.0,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing with its description."""

    title: str
    svg: str
    description: str
    """What it shows, also for people who cannot see it."""


def charts(data: ChartData) -> tuple[Chart, ...]:
    """The task's charts."""
    drawn = [_calibration(data)]
    if data.roc:
        drawn.append(_roc(data))
    if data.residuals:
        drawn.append(_residuals(data))
    return tuple(drawn)


def _calibration(data: ChartData) -> Chart:
    def draw(axes: "Axes") -> None:
        ends = [value for line in data.calibration for value in (*line.x, *line.y)]
        low, high = min(ends), max(ends)
        axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for line in reversed(data.calibration):
            axes.plot(
                line.x,
                line.y,
                marker="o",
                markersize=3.4 if line.candidate else 5.5,
                **_look(line),
            )

    return Chart(
        title="Calibration",
        svg=_svg("calibration", data.axes, draw, data.calibration),
        description=(
            "Predicted against observed, in bins of equal numbers of rows; on the dotted diagonal"
            f" both agree. {_largest_gaps(data.calibration)}"
        ),
    )


def _roc(data: ChartData) -> Chart:
    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for line, dashes in reversed(_dashed(data.roc)):
            axes.plot(line.x, line.y, **_look(line, dashes))

    return Chart(
        title="ROC",
        svg=_svg("roc", ("false positive rate", "true positive rate"), draw, data.roc),
        description=(
            "True against false positive rate at falling thresholds; the dotted diagonal is"
            " chance. The areas are in the table of metrics."
        ),
    )


def _residuals(data: ChartData) -> Chart:
    def draw(axes: "Axes") -> None:
        axes.axvline(0, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
        for line in reversed(data.residuals):
            axes.step(line.x, line.y, where="mid", **_look(line))

    return Chart(
        title="Residuals",
        svg=_svg("residuals", ("prediction minus target", "share of rows"), draw, data.residuals),
        description=(
            "How often each error occurs; right of the dotted line, the prediction was too high."
        ),
    )


def _dashed(lines: Sequence[Line]) -> list[tuple[Line, Any]]:
    """Each line with its dashes: the k-th class of either model has the same."""
    candidate = [line for line in lines if line.candidate]
    rival = [line for line in lines if not line.candidate]
    return [
        (line, DASHES[k % len(DASHES)])
        for side in (candidate, rival)
        for k, line in enumerate(side)
    ]


def _look(line: Line, dashes: Any = "-") -> dict[str, Any]:
    return {
        "color": CANDIDATE if line.candidate else RIVAL,
        # A wide line beneath a narrow one: both stay visible where they agree.
        "linewidth": 1.5 if line.candidate else 3.6,
        "alpha": 1.0 if line.candidate else 0.5,
        "linestyle": dashes,
        "label": line.label,
    }


def _largest_gaps(lines: Sequence[Line]) -> str:
    """The largest gap of each line between its x and its y, in words."""
    gaps = (
        f"{line.label}: at most {max(abs(x - y) for x, y in zip(line.x, line.y, strict=True)):.3g}"
        " apart"
        for line in lines
    )
    return "; ".join(gaps) + "."


def _svg(name: str, labels: tuple[str, str], draw: Any, lines: Sequence[Line]) -> str:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs about its font cache
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        draw(axes)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        if len(lines) > 2:
            axes.legend(frameon=False, fontsize=7.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _embedded(buffer.getvalue(), name)


def _embedded(svg: str, name: str) -> str:
    """The drawing as part of a page: unique ids, the page's colours, no fixed size."""
    for hexadecimal, variable in COLOURS.items():
        svg = svg.replace(hexadecimal, f"var({variable})")
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(svg)  # noqa: S314 - drawn here by Matplotlib
    for child in [element for element in root if element.tag.endswith("metadata")]:
        root.remove(child)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key.endswith("href"):
                element.set(key, value.replace("#", f"#{name}-"))
            else:
                element.set(key, re.sub(r"url\(#", f"url(#{name}-", value))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("aria-hidden", "true")
    return ET.tostring(root, encoding="unicode")
