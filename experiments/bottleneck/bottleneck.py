"""Compare the runs with and without skip connections; writes results.csv and scores.png beside it.

python experiments/bottleneck/bottleneck.py <sweep directory>
"""

from __future__ import annotations

import csv
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from perpixel.tracking.runs import load_sweep

HERE = Path(__file__).parent
SCORES = {
    "mIoU": "mIoU",
    "mBoundaryF": "boundary F1",
    "mThinRecall": "recall of\nthin parts",
    "mSmallObjectRecall": "recall of\nsmall objects",
}
COLOURS = {True: "#2563eb", False: "#ea580c"}


def main() -> None:
    """One row a run and score; one point a run in the picture, a bar for their mean."""
    found: dict[tuple[bool, str], list[float]] = defaultdict(list)
    rows = []
    for run in load_sweep(Path(sys.argv[1])).runs:
        skips, seed = run.config["model"]["skips"], run.config["seed"]
        for score in SCORES:
            values = [run.scores[split][score] for split in ("val", "test")]
            found[skips, score].append(values[1])
            rows.append([str(skips).lower(), seed, score, *(f"{value:.4f}" for value in values)])
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["skips", "seed", "score", "val", "test"], *sorted(rows)])
    for score in SCORES:
        for skips in (True, False):
            values = found[skips, score]
            mean = statistics.mean(values)
            print(f"| {score} | {str(skips).lower()} | {mean:.3f} ({min(values):.3f} … {max(values):.3f}) |")
    draw(found)


def draw(found: dict[tuple[bool, str], list[float]]) -> None:
    """``scores.png``."""
    figure = Figure(figsize=(7, 3.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, score in enumerate(SCORES):
        for side, skips in ((-0.18, True), (0.18, False)):
            values = found[skips, score]
            label = ("with skip connections" if skips else "without") if place == 0 else None
            axes.bar(place + side, statistics.mean(values), 0.32, color=COLOURS[skips], alpha=0.75, label=label)
            axes.scatter([place + side] * len(values), values, color="#0f172a", s=12, zorder=3)
    axes.set_xticks(range(len(SCORES)), list(SCORES.values()))
    axes.set(ylabel="test score", ylim=(0, 1))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(HERE / "scores.png")


if __name__ == "__main__":
    main()
