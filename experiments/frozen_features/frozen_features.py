"""How much faster epochs are when a frozen encoder's features are computed once, and what fixed views cost in score.

python experiments/frozen_features/frozen_features.py            # writes results.csv and prints the table
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import perpixel

HERE = Path(__file__).parent
EPOCHS = 12
COMMON = [
    *("model=linear", "trainer.accelerator=cpu", f"trainer.max_epochs={EPOCHS}", "optimizer.lr=2e-3"),
    *("trainer.enable_progress_bar=false", "training.overlays=0", "evaluation=none", "loss=ce"),
]
EARTH = ["data=earth", "encoder=efficientnet_lite0"]
VIT = ["data=earth", "encoder=dinov3_vits16", "encoder.weights=none", "trainer.max_epochs=4"]
CASES = {
    "ImageNet's EfficientNet-Lite0": (EARTH, (0, 1, 2)),
    "DINOv3's ViT-S, random (for its time only)": (VIT, (0,)),
}
WAYS = {
    "new views in every epoch": ["data.views=null"],
    "4 views, features at every step": ["data.views=4", "training.cache_features=false"],
    "4 views, features cached": ["data.views=4"],
}


def measure(overrides: list[str], run: Path) -> dict[str, Any]:
    """Seconds before the first epoch, median seconds of the others (validation included), and mIoU on test."""
    result = perpixel.train([*COMMON, *overrides, f"hydra.run.dir={run}"])
    lines = [json.loads(line) for line in (result.directory / "metrics.jsonl").read_text().splitlines()]
    ends = [line["time_s"] for line in lines]
    epochs = [later - sooner for sooner, later in pairwise(ends)]
    return {"epoch_s": statistics.median(epochs), "whole_s": ends[-1], "miou": result.scores["test"]["mIoU"]}


def main() -> None:
    """Measure all, write ``results.csv``, print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for encoder, (overrides, seeds) in CASES.items():
            for seed in seeds:
                for way, keys in WAYS.items():
                    run = Path(folder) / f"{len(rows)}"
                    found = measure([*overrides, *keys, f"seed={seed}"], run)
                    rows.append({"encoder": encoder, "way": way, "seed": seed, **found})
                    sys.stderr.write(f"{rows[-1]}\n")
    with (HERE / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Per encoder and way: medians over seeds, and the scores' mean and spread."""
    print("| encoder | way | s per epoch | against every step | s in all | test mIoU |\n|---|---|---:|---:|---:|---:|")
    for encoder in CASES:
        of = {way: [row for row in rows if (row["encoder"], row["way"]) == (encoder, way)] for way in WAYS}
        slow = statistics.median(row["epoch_s"] for row in of["4 views, features at every step"])
        for way, found in of.items():
            epoch, whole = (statistics.median(row[key] for row in found) for key in ("epoch_s", "whole_s"))
            scores = [row["miou"] for row in found]
            spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
            shown = "–" if "random" in encoder else f"{statistics.mean(scores):.3f}{spread}"
            print(f"| {encoder} | {way} | {epoch:.2f} | {slow / epoch:.1f}× | {whole:.0f} | {shown} |")


if __name__ == "__main__":
    main()
