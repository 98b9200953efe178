"""The plots in specs/, drawn by matplotlib. The figures are stored in figures.json, so that `python -m bench.plot` can
draw all plots again without a measurement."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

SPECS = Path(__file__).parent.parent / "specs"
FIGURES = Path(__file__).parent / "figures.json"
OURS, OTHERS = "#1f6feb", "#afb8c1"
COLOURS = (OURS, "#d1542f", "#2d8a4e", "#8250df")

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name -> points (x, y)."""
Groups = Mapping[str, Mapping[str, float]]
"""Group -> name -> value; the first name of a group is this service."""


def curves(file: Path, title: str, x_name: str, y_name: str, series: Series, *, logarithmic: str = "x") -> None:
    """Lines with points; `logarithmic` lists the logarithmic axes."""
    _record(file, title=title, x=x_name, y=y_name, series=series, logarithmic=logarithmic)
    figure, axes = _figure(title, height=4)
    for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
        axes.plot(*zip(*points, strict=True), label=name, color=colour, marker="o", markersize=4)
    axes.set_xlabel(_axis(x_name, "x" in logarithmic))
    axes.set_ylabel(_axis(y_name, "y" in logarithmic))
    if "x" in logarithmic:
        axes.set_xscale("log")
    xs = sorted({x for points in series.values() for x, _ in points})
    if "x" in logarithmic or len(xs) < 6:
        axes.set_xticks(xs)
    if "y" in logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    else:
        axes.set_ylim(0, 1.1 * max(y for points in series.values() for _, y in points))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_short))
    axes.minorticks_off()
    axes.grid(axis="y", color="#d0d7de")
    if len(series) > 1:
        axes.legend(frameon=False)
    _save(figure, file)


def bars(file: Path, title: str, groups: Groups) -> None:
    """Horizontal bars in groups, with a blank line between two groups."""
    _record(file, title=title, groups=groups)
    figure, axes = _figure(title, height=0.6 + 0.28 * sum(len(values) + 1 for values in groups.values()))
    place, ticks = 0, {}
    for group, values in groups.items():
        axes.text(0, place, group, weight="bold", verticalalignment="center")
        for number, (name, value) in enumerate(values.items()):
            place += 1
            ticks[place] = name
            drawn = axes.barh(place, value, height=0.75, color=OTHERS if number else OURS)
            axes.bar_label(drawn, labels=[f"{value:,.0f}"], padding=4)
        place += 1.5
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(place - 1, -0.8)  # downwards
    axes.tick_params(left=False)
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.1)
    _save(figure, file)


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _axis(name: str, logarithmic: bool) -> str:
    return f"{name} (logarithmic)" if logarithmic else name


def _short(value: float, _: Any) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _save(figure: Figure, file: Path) -> None:
    """Saves the plot so that the same figures give the same bytes."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "todo", "font.family": "sans-serif"}):
        figure.savefig(file, metadata={"Date": None}, facecolor="white")


def _record(file: Path, **figure: Any) -> None:
    """One line for each plot."""
    figures = json.loads(FIGURES.read_text()) | {file.stem: figure}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(figures[name])}" for name in sorted(figures))
    FIGURES.write_text(f"{{\n{lines}\n}}\n")


def main() -> None:
    for name, figure in json.loads(FIGURES.read_text()).items():
        file = SPECS / f"{name}.svg"
        if "groups" in figure:
            bars(file, **figure)
        else:
            curves(file, figure["title"], figure["x"], figure["y"], figure["series"], logarithmic=figure["logarithmic"])


if __name__ == "__main__":
    main()
