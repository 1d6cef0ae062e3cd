"""What writing the training state costs, as a share of the time between two states at the default cadence.

``python experiments/soak/cost.py --save`` prints the figures and writes ``cost.csv``.
"""

from __future__ import annotations

import argparse
import copy
import csv
import statistics
import tempfile
import time
from pathlib import Path

import torch

from perpixel.cli.experiment import build_model
from perpixel.config import compose
from perpixel.training import CheckpointStore

HERE = Path(__file__).parent
REPEATS = 9


def state() -> dict[str, object]:
    """Weights, their average and AdamW's two moments of the default model."""
    cfg = compose(["encoder.weights=none"]).cfg
    model = build_model(cfg, num_classes=6, in_channels=3)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    weights = model.state_dict()
    return {"state_dict": weights, "current_model_state": copy.deepcopy(weights), "optimizer": optimizer.state_dict()}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write cost.csv")
    options = parser.parse_args()
    content, seconds = state(), []
    cadence_s = 60 * compose([]).cfg.training.checkpoint.every_minutes
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:  # the disk that runs are written to
        store = CheckpointStore(Path(directory))
        for step in range(REPEATS):
            began = time.perf_counter()
            store.write("state", content, step)
            seconds.append(time.perf_counter() - began)
        size = store.entries("state")[-1].bytes
    median = statistics.median(seconds)
    rows = [
        ("bytes of a state", size),
        ("seconds to write it, median", round(median, 3)),
        ("seconds to write it, worst", round(max(seconds), 3)),
        ("share of training time at the default cadence, median", f"{median / cadence_s:.3%}"),
        ("share of training time at the default cadence, worst", f"{max(seconds) / cadence_s:.3%}"),
    ]
    for name, value in rows:
        print(f"{name:55} {value}")
    if options.save:
        with (HERE / "cost.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("what", "value"), *rows])


if __name__ == "__main__":
    main()
