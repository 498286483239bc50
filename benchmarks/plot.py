"""Lines over numbers of objects, both axes logarithmic, as SVG."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import NamedTuple

_WIDTH, _HEIGHT = 900, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 170, 50, 60
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito, which differ for any kind of colour vision."""


class Line(NamedTuple):
    """One line: of a store and a verb, through points of (number of objects, cost)."""

    where: str
    verb: str
    points: list[tuple[float, float]]


def drawn(lines: list[Line], title: str, below: str) -> str:
    """The plot as text of an SVG file.

    Args:
        lines: Verbs differ in colour, stores in dashes.
        title: Of the vertical axis.
        below: Of the horizontal axis.
    """
    points = [point for line in lines for point in line.points]
    across, up = ([math.log10(point[axis]) for point in points] for axis in (0, 1))
    least = math.floor(min(across, default=0)), math.floor(min(up, default=0))
    most = math.ceil(max(across, default=1)), math.ceil(max(up, default=1))

    def place(number: float, cost: float) -> tuple[float, float]:
        shares = [
            (math.log10(value) - low) / max(1, high - low)
            for value, low, high in zip((number, cost), least, most, strict=True)
        ]
        return (
            _LEFT + shares[0] * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - shares[1] * (_HEIGHT - _TOP - _BOTTOM),
        )

    svg = ET.Element(
        "svg",
        {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {_WIDTH} {_HEIGHT}",
         "font-family": "sans-serif", "font-size": "13"},
    )  # fmt: skip
    ET.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    _text(svg, _LEFT, 25, title, "start")
    _text(svg, (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 15, below, "middle")
    for power in range(least[0], most[0] + 1):
        x, y = place(10**power, 10 ** least[1])
        _rule(svg, (x, _TOP), (x, y))
        _text(svg, x, y + 20, f"{10**power:,}", "middle")
    for power in range(least[1], most[1] + 1):
        x, y = place(10 ** least[0], 10**power)
        _rule(svg, (x, y), (_WIDTH - _RIGHT, y))
        _text(svg, x - 8, y + 4, f"{10**power:g}", "end")
    verbs, stores = (list(dict.fromkeys(line[field] for line in lines)) for field in (1, 0))
    for number, line in enumerate(lines):
        colour = _COLOURS[verbs.index(line.verb) % len(_COLOURS)]
        style = {"stroke": colour, "stroke-width": "2", "fill": "none"}
        if stores.index(line.where):
            style["stroke-dasharray"] = "6 4"
        placed = [place(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        ET.SubElement(svg, "polyline", {"points": path, **style})
        for x, y in placed:
            ET.SubElement(svg, "circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": "3.5", "fill": colour})
        y = _TOP + 22 * number
        ET.SubElement(
            svg, "polyline", {"points": f"{_WIDTH - _RIGHT + 15},{y} {_WIDTH - _RIGHT + 45},{y}", **style}
        )
        _text(svg, _WIDTH - _RIGHT + 52, y + 4, f"{line.verb}, {line.where}", "start")
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _text(svg: ET.Element, x: float, y: float, words: str, anchor: str) -> None:
    ET.SubElement(svg, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}).text = words


def _rule(svg: ET.Element, start: tuple[float, float], end: tuple[float, float]) -> None:
    places = {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]}
    ET.SubElement(
        svg, "line", {name: f"{value:.1f}" for name, value in places.items()} | {"stroke": "#dddddd"}
    )
