"""Draw the val mIoU of the study's runs, and write results.csv.

python experiments/pretrained_encoder/curves.py <run directory …>
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

HERE = Path(__file__).parent


def main() -> None:
    """One line and one row per run."""
    figure = Figure(figsize=(7, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rows = []
    for run in map(Path, sys.argv[1:]):
        cfg = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        start = "random" if cfg["encoder"]["weights"] == "none" else "ImageNet"
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        points = [(line["epoch"] + 1, line["val/mIoU"]) for line in lines if line.get("val/mIoU") is not None]
        axes.plot(
            *zip(*points, strict=True),
            color="#2563eb" if start == "ImageNet" else "#94a3b8",
            linestyle=("-", "--")[cfg["seed"] % 2],
            marker="o",
            markersize=3,
            label=f"{start}, seed {cfg['seed']}",
        )
        scores = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        rows.append([start, cfg["seed"], f"{scores['val']['mIoU']:.4f}", f"{scores['test']['mIoU']:.4f}"])
    axes.set(xlabel="epoch (20 steps each)", ylabel="val mIoU")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(HERE / "curves.png")
    with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["encoder weights", "seed", "val mIoU", "test mIoU"])
        writer.writerows(sorted(rows))


if __name__ == "__main__":
    main()
