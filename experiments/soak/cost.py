"""What writing the training state costs, as a share of the time between two states at the default cadence.

Measured in a real training of the default model: all that happens between two steps because a state is written (the
look at the weights, gathering the state with its average, writing, syncing, hashing, listing it, the manifest).
``python experiments/soak/cost.py --save`` prints the figures and writes ``cost.csv``.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import perpixel
from perpixel.config import compose
from perpixel.training import CheckpointStore
from perpixel.training.callbacks import Checkpoints

HERE = Path(__file__).parent
STATES = 9


class Timed:
    """Seconds that every call of ``Checkpoints.save`` takes."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._save = Checkpoints.save

    def __enter__(self) -> Timed:
        own = self._save

        def save(checkpoints: Checkpoints, trainer: Any) -> None:
            began = time.perf_counter()
            own(checkpoints, trainer)
            self.seconds.append(time.perf_counter() - began)

        Checkpoints.save = save  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Checkpoints.save = self._save  # type: ignore[method-assign]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write cost.csv")
    options = parser.parse_args()
    cadence_s = 60 * compose([]).cfg.training.checkpoint.every_minutes
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as directory,
        Timed() as timed,
    ):  # the disk that runs are written to
        run = Path(directory) / "run"
        short = [f"trainer.max_steps={STATES}", "trainer.limit_val_batches=1", "training.test=false"]
        perpixel.train([*short, "training.checkpoint.every_n_steps=1", "training.overlays=0", f"hydra.run.dir={run}"])
        size = CheckpointStore(run / "checkpoints").entries("state")[-1].bytes
    median, worst = statistics.median(timed.seconds), max(timed.seconds)
    rows = [
        ("states written in a training", len(timed.seconds)),
        ("bytes of a state", size),
        ("seconds a step waits for it, median", round(median, 3)),
        ("seconds a step waits for it, worst", round(worst, 3)),
        ("share of training time at the default cadence, median", f"{median / cadence_s:.3%}"),
        ("share of training time at the default cadence, worst", f"{worst / cadence_s:.3%}"),
    ]
    for name, value in rows:
        print(f"{name:55} {value}")
    if options.save:
        with (HERE / "cost.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("what", "value"), *rows])


if __name__ == "__main__":
    main()
