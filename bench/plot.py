"""Small charts as SVG, drawn by hand: they need no library and read well in a diff."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 610, 50, 290
COLOURS = ("#1f6feb", "#d1542f", "#2d8a4e", "#8250df")
STYLE = "text { font: 13px sans-serif; fill: #24292f } .small { font-size: 12px; fill: #57606a }"

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name -> points (x, y)."""


def document(height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    paper = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", paper, *parts, "</svg>"]) + "\n"


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#d0d7de"/>'


def short(value: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def ticks(top: float) -> list[float]:
    """Zero and three to six round steps that reach `top`."""
    step = 10 ** math.floor(math.log10(top))
    step = next(step * part for part in (0.2, 0.25, 0.5, 1, 2) if top / (step * part) <= 6)
    return [step * number for number in range(math.ceil(top / step) + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def curves(file: Path, title: str, x_name: str, y_name: str, series: Series, *, logarithmic: str = "x") -> None:
    """Lines with their points; `logarithmic` names the axes that are."""
    xs = sorted({x for points in series.values() for x, _ in points})
    ys = [y for points in series.values() for _, y in points]
    x_ticks = xs if "x" in logarithmic else ticks(xs[-1])
    y_ticks = logarithmic_ticks(min(ys), max(ys)) if "y" in logarithmic else ticks(max(ys))
    x_scale: Callable[[float], float] = math.log10 if "x" in logarithmic else float
    y_scale: Callable[[float], float] = math.log10 if "y" in logarithmic else float

    def across(x: float) -> float:
        low, high = x_scale(x_ticks[0]), x_scale(x_ticks[-1])
        return LEFT + (RIGHT - LEFT) * (x_scale(x) - low) / (high - low)

    def up(y: float) -> float:
        low, high = y_scale(y_ticks[0]), y_scale(y_ticks[-1])
        return BOTTOM - (BOTTOM - TOP) * (y_scale(y) - low) / (high - low)

    parts = [text(LEFT, 24, title), text(RIGHT, 24, y_name, "end", "small")]
    parts += [text((LEFT + RIGHT) / 2, BOTTOM + 38, x_name, "middle", "small")]
    for y in y_ticks:
        parts += [line(LEFT, up(y), RIGHT, up(y)), text(LEFT - 8, up(y) + 4, short(y), "end", "small")]
    for x in x_ticks:
        parts += [line(across(x), BOTTOM, across(x), BOTTOM + 5)]
        parts += [text(across(x), BOTTOM + 19, short(x), "middle", "small")]
    for number, (name, points) in enumerate(series.items()):
        colour, left = COLOURS[number], LEFT + 180 * number
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts += [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
        parts += [f'<rect x="{left}" y="{HEIGHT - 22}" width="12" height="12" fill="{colour}"/>']
        parts += [text(left + 18, HEIGHT - 11, name)]
    file.write_text(document(HEIGHT, parts))


def bars(file: Path, title: str, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Horizontal bars in groups: group -> name -> value; the first name of a group is ours."""
    widest = max(value for group in groups.values() for value in group.values())
    parts, y = [text(20, 28, title)], 56
    for group, values in groups.items():
        parts.append(text(20, y, group))
        for number, (name, value) in enumerate(values.items()):
            y += 22
            length = 320 * value / widest
            colour = COLOURS[0] if number == 0 else "#afb8c1"
            parts += [text(170, y, name, "end", "small")]
            parts += [f'<rect x="180" y="{y - 12}" width="{length:.1f}" height="16" fill="{colour}"/>']
            parts += [text(186 + length, y + 1, f"{value:,.0f}", kind="small")]
        y += 32
    file.write_text(document(y, parts))
