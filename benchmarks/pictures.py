"""Draws docs/performance/*.svg from the figures beside them: ``python benchmarks/pictures.py``."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

FOLDER = Path(__file__).parents[1] / "docs" / "performance"
NAMES = {"scripted": "without a model", "tiny": "two-layer model, local engine"}
plt.rcParams |= {
    "svg.hashsalt": "srlm",  # the same picture gives the same file
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def growth() -> None:
    """Seconds and memory against prompts, both axes logarithmic."""
    found = json.loads((FOLDER / "growth.json").read_text())
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    for axis, key, name in zip(axes, ("seconds", "gib"), ("seconds", "largest process, GiB"), strict=True):
        for kind, measured in found.items():
            sizes, values = zip(*((run["prompts"], run[key]) for run in measured["runs"]), strict=True)
            label = f"{NAMES[kind]}: slope {measured['slopes'][key]:.2f}"
            axis.loglog(sizes, values, "o-", label=label)
        axis.set(xlabel="prompts", ylabel=name)
        axis.grid(alpha=0.3)
        axis.legend(frameon=False, fontsize=8, loc="lower right" if key == "seconds" else "upper left")
    axes[1].set_ylim(0.01, 10)
    save(figure, "growth")


def where_time_goes() -> None:
    """A bar a piece of work, cut by kind of operation."""
    found = json.loads((FOLDER / "profile.json").read_text())
    found = {work: part for work, part in found.items() if "kinds" in part}
    works = list(found)
    shares = {
        work: {kind: 100 * seconds / sum(part["kinds"].values()) for kind, seconds in part["kinds"].items()}
        for work, part in found.items()
    }
    kinds = sorted({kind for each in shares.values() for kind in each})
    kinds.sort(key=lambda kind: -sum(each.get(kind, 0) for each in shares.values()))
    figure, axis = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
    ends = [0.0] * len(works)
    for number, kind in enumerate(kinds):
        widths = [shares[work].get(kind, 0) for work in works]
        bars = axis.barh(works, widths, left=ends, color=plt.cm.tab10(number), label=kind)
        texts = [f"{width:.0f}" if width >= 4 else "" for width in widths]
        axis.bar_label(bars, texts, label_type="center", color="white")
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
    axis.set(xlabel="% of the processor's time", xlim=(0, 100))
    axis.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=8)
    save(figure, "profile")


def scaling() -> None:
    """Predicted efficiency and hours of a round's writing against replicas."""
    found = json.loads((FOLDER / "scaling.json").read_text())
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
    for name, rows in found.items():
        replicas = [row["replicas"] for row in rows]
        axes[0].semilogx(replicas, [100 * row["efficiency"] for row in rows], "o-", base=2, ms=4, label=name)
        axes[1].loglog(replicas, [row["hours"] for row in rows], "o-", ms=4, label=name)
    axes[0].set(xlabel="replicas", ylabel="predicted efficiency, %", ylim=(0, 105))
    axes[1].set(xlabel="replicas", ylabel="predicted hours of writing")
    axes[1].set_xscale("log", base=2)
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.set_xticks([4**n for n in range(6)], [f"{4**n:,}" for n in range(6)])
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, "scaling")


def save(figure, name: str) -> None:
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    growth()
    where_time_goes()
    scaling()
