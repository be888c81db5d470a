"""Figures with inline SVG: drawn by matplotlib, coloured by the page, so that light and dark both fit.

matplotlib draws with stand-in colours that become CSS variables of the page; its text stays text.
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from srlm.evaluation.intervals import Estimate

INK, SOFT, LINE = "#000001", "#000002", "#000003"
SERIES = tuple(f"#0000a{n}" for n in range(1, 7))
"""Of models from M1 on, or of groups in their order; the seventh is the first again."""
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)"} | {
    colour: f"var(--c{n})" for n, colour in enumerate(SERIES, 1)
}
MOST_POINTS = 1500
"""Points in a cloud; of more, so many are shown, evenly spread over all."""
ROOM = 36
"""Characters of names that stand side by side under an axis; longer ones are turned."""
LEGEND = 48
"""Characters of names that stand side by side above the axes, with the room between them."""

Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], title: str, x: str, y: str) -> str:
    """Curves over steps or rounds."""

    def draw(axes: Any) -> None:
        for name, points in series.items():
            few = len(points) < 12
            shape = {"marker": "o" if few else None, "ms": 4}
            axes.plot(*zip(*points, strict=True), color=_colour(name, series), label=name, **shape)
        axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes, series)

    return _figure(draw, title, x, y)


def distributions(groups: Mapping[str, Sequence[float]], title: str, y: str) -> str:
    """How values are spread in each group: a box of quartiles, whiskers at 5 % and 95 %, the mean a dot."""

    def draw(axes: Any) -> None:
        shown = {name: values for name, values in groups.items() if values}
        boxes = axes.boxplot(
            list(shown.values()),
            tick_labels=list(shown),
            whis=(5, 95),
            showfliers=False,
            showmeans=True,
            patch_artist=True,
            widths=0.5,
            meanprops={"marker": "o", "markerfacecolor": INK, "markeredgecolor": INK, "markersize": 4},
            medianprops={"color": INK},
        )
        for box, name in zip(boxes["boxes"], shown, strict=True):
            colour = _colour(name, shown)
            box.set(facecolor=colour, edgecolor=colour, alpha=0.55)
        for part in (*boxes["whiskers"], *boxes["caps"]):
            part.set(color=SOFT)
        if sum(map(len, shown)) > ROOM:
            for label in axes.get_xticklabels():
                label.set(rotation=30, ha="right")

    return _figure(draw, title, "", y)


def histograms(groups: Mapping[str, Mapping[int, int]], title: str, x: str) -> str:
    """Shares of whole grades, a bar a group side by side."""

    def draw(axes: Any) -> None:
        grades = sorted({grade for counts in groups.values() for grade in counts})
        width = 0.8 / max(len(groups), 1)
        for place, (name, counts) in enumerate(groups.items()):
            total = sum(counts.values()) or 1
            at = [grade + (place - (len(groups) - 1) / 2) * width for grade in grades]
            shares = [100 * counts.get(grade, 0) / total for grade in grades]
            axes.bar(at, shares, width * 0.9, color=_colour(name, groups), label=name)
        axes.set_xticks(grades)
        _legend(axes, groups)

    return _figure(draw, title, x, "% of grades")


def cloud(groups: Mapping[str, Points], title: str, x: str, y: str, *, bare: bool = False) -> str:
    """Points by group; `bare` without numbers at the axes, where only nearness means something."""

    def draw(axes: Any) -> None:
        for name, points in groups.items():
            shown = _spread(points, MOST_POINTS // max(len(groups), 1))
            if shown:
                axes.scatter(
                    *zip(*shown, strict=True), s=14, color=_colour(name, groups), alpha=0.7, lw=0, label=name
                )
        if bare:
            axes.set_xticks([])
            axes.set_yticks([])
        _legend(axes, groups)

    return _figure(draw, title, x, y)


def estimates(
    series: Mapping[str, Sequence[tuple[float, Estimate]]], title: str, x: str, y: str, even: float | None
) -> str:
    """Figures with their 95 % intervals, between 0 and 1; a line at `even`, where neither side is ahead.

    Without `even` they are of any size, and there is no line.
    """

    def draw(axes: Any) -> None:
        for name, points in series.items():
            known = [(at, one.value, one.low, one.high) for at, one in points if one.value is not None]
            if not known:
                continue
            at, values, *bounds = zip(*known, strict=True)
            shape = {"marker": "o", "ms": 4, "elinewidth": 1}
            reach = _reach(values, bounds)
            axes.errorbar(at, values, yerr=reach, color=_colour(name, series), label=name, **shape)
        if even is not None:
            axes.axhline(even, color=LINE, lw=1, zorder=0)
            axes.set_ylim(0, 1)
        whole = sorted({round(at) for points in series.values() for at, _ in points})
        if even is None and len(whole) < 12:  # the models; series may stand a little beside them
            axes.set_xticks(whole)
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        _legend(axes, series)

    return _figure(draw, title, x, y)


def differences(rows: Sequence[tuple[str, Estimate]], title: str, x: str) -> str:
    """Differences with their 95 % intervals, a row each from the top; a line at 0, where neither is ahead."""
    known = [(name, one) for name, one in rows if one.value is not None]

    def draw(axes: Any) -> None:
        places = [float(-place) for place in range(len(known))]
        values = [one.value for _, one in known]
        reach = _reach(values, ([one.low for _, one in known], [one.high for _, one in known]))
        axes.axvline(0, color=SOFT, lw=1, zorder=0)
        shape = {"fmt": "o", "ms": 5, "elinewidth": 1.5, "capsize": 3}
        axes.errorbar(values, places, xerr=reach, color=SERIES[0], **shape)
        axes.set_yticks(places, [name for name, _ in known])
        axes.set_ylim(0.6 - len(known), 0.6)
        axes.margins(x=0.08)

    return _figure(draw, title, x, "", height=1.0 + 0.3 * len(known))


def _reach(values: Sequence[Any], bounds: Iterable[Sequence[float | None]]) -> list[list[float]]:
    """How far each bound is from its value; 0 where there is none."""
    return [
        [0.0 if bound is None else abs(bound - value) for bound, value in zip(side, values, strict=True)]
        for side in bounds
    ]


def calibration(models: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> str:
    """Mean human place of the answers that got each grade; a useful judge's curve falls."""
    places = {
        name: [(float(row["grade"]), Estimate(**row["place"])) for row in rows]
        for name, rows in models.items()
    }
    return estimates(places, title, "grade", "human place (0 best, 1 worst)", 0.5)


def radar(models: Mapping[str, Mapping[str, float]], title: str, highest: float) -> str:
    """Scores by category around a circle, as MT-Bench is shown."""
    from math import pi

    names = list(dict.fromkeys(name for values in models.values() for name in values))

    def draw(axes: Any) -> None:
        angles = [2 * pi * n / len(names) for n in range(len(names))]
        for model, values in models.items():
            ring = [values.get(name, 0.0) for name in names]
            axes.plot([*angles, angles[0]], [*ring, ring[0]], color=_colour(model, models), label=model)
        axes.set_xticks(angles, names)
        axes.set_ylim(0, highest)
        axes.set_theta_offset(pi / 2)
        axes.set_theta_direction(-1)
        _legend(axes, models)

    return _figure(draw, title, "", "", polar=True)


def _figure(
    draw: Callable[[Any], None], title: str, x: str, y: str, *, polar: bool = False, height: float = 2.9
) -> str:
    """What `draw` puts on axes, as HTML: SVG without size, ids that clash, or colours of its own."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "axes.edgecolor": LINE,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": LINE,
        "grid.linewidth": 0.5,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "text.color": INK,
        "legend.frameon": False,
        "font.size": 11,
        "text.parse_math": False,  # a run's name is no formula
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.6, 4.2 if polar else height), layout="constrained")
        axes = figure.add_subplot(polar=polar)
        axes.set_axisbelow(True)
        draw(axes)
        if not polar:
            axes.set(xlabel=x, ylabel=y)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(out.getvalue(), title)


def _for_page(svg: str, title: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in referred else "", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    label = escape(title)
    drawn = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return f"<figure><figcaption>{label}</figcaption>{drawn}</figure>"


def _colour(name: str, groups: Mapping[str, Any]) -> str:
    """A model's colour is the same in every figure; others go by their place, beside models from the end."""
    numbers = {key: re.search(r"(?:^| )M(\d+)$", key) for key in groups}
    models = [found[1] for found in numbers.values() if found]
    number = numbers[name]
    if number and len(set(models)) == len(models):
        return (SOFT, *SERIES)[int(number[1]) % (len(SERIES) + 1)]
    others = list(groups) if number else [key for key, found in numbers.items() if not found]
    place = others.index(name) % len(SERIES)
    return SERIES[-1 - place] if models and not number else SERIES[place]


def _legend(axes: Any, groups: Mapping[str, Any]) -> None:
    """In a row above the axes, where it hides nothing."""
    if len(groups) > 1:
        axes.figure.legend(
            fontsize=10,
            loc="outside upper left",
            ncols=_beside(groups),
            handlelength=1.1,
            columnspacing=1.2,
        )


def _beside(names: Iterable[str]) -> int:
    """How many names of a legend stand in a row, so that none is cut off."""
    widths = [len(name) + 4 for name in names]
    return max(1, min(len(widths), 6, LEGEND * len(widths) // sum(widths)))


def _spread(points: Points, most: int) -> Points:
    step = max(1, -(-len(points) // max(most, 1)))
    return points[::step]
