"""What writing the training state costs, as a share of the time between two states at the default cadence.

Measured in a real training of the default model, by one process and by two ranks: all that happens between two steps
because a state is written (the ranks' agreement, the look at the weights, gathering the state with its average,
writing, syncing, hashing, listing it, the manifest).
``python experiments/soak/cost.py --save`` prints the figures and writes ``cost.csv``.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from perpixel.config import compose
from perpixel.training import CheckpointStore

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STATES = 9
RANKS: dict[str, list[str]] = {
    "1 process": [],
    "2 ranks": ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=4"],
}


def measure(more: list[str], directory: Path) -> tuple[list[float], int]:
    """Seconds of each state, and the bytes of one."""
    run, times = directory / "run", directory / "seconds"
    short = [f"trainer.max_steps={STATES}", "trainer.limit_val_batches=1", "training.test=false", "training.overlays=0"]
    timed = ["loss=dice", "loss._target_=experiments.soak.timed.TimedDice", "training.checkpoint.every_n_steps=1"]
    own = {"PERPIXEL_PLUGINS": "experiments", "PYTHONPATH": str(ROOT), "STATE_SECONDS": str(times)}
    command = [sys.executable, ROOT / "src" / "train.py", *short, *timed, *more, f"hydra.run.dir={run}"]
    subprocess.run(command, env=os.environ | own, check=True)
    size = CheckpointStore(run / "checkpoints").entries("state")[-1].bytes
    return [float(line) for line in times.read_text(encoding="utf-8").split()], size


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", action="store_true", help="write cost.csv")
    options = parser.parse_args()
    cadence_s = 60 * compose([]).cfg.training.checkpoint.every_minutes
    rows: list[tuple[str, str, object]] = []
    for ranks, more in RANKS.items():
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as directory:  # the disk that runs are written to
            seconds, size = measure(more, Path(directory))
        median, worst = statistics.median(seconds), max(seconds)
        rows += [
            (ranks, "states written in a training", len(seconds)),
            (ranks, "bytes of a state", size),
            (ranks, "seconds a step waits for it, median", round(median, 3)),
            (ranks, "seconds a step waits for it, worst", round(worst, 3)),
            (ranks, "share of training time at the default cadence, median", f"{median / cadence_s:.3%}"),
            (ranks, "share of training time at the default cadence, worst", f"{worst / cadence_s:.3%}"),
        ]
    for each, name, value in rows:
        print(f"{each:10} {name:55} {value}")
    if options.save:
        with (HERE / "cost.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("by", "what", "value"), *rows])


if __name__ == "__main__":
    main()
