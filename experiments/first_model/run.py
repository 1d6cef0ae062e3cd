"""Run ``init`` on each set and seed, and append scores and baselines to ``results.csv``.

python experiments/first_model/run.py SETS --sets nuclei drawn --seeds 0 1 2 --budget 5min
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

from perpixel.tracking.runs import load_run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLUMNS = ["set", "seed", "budget", "minutes"] + [
    f"{split} {name}" for split in ("val", "test") for name in ("mIoU", "majority", "colour_table")
]


def one(root: Path, seed: int, budget: str, out: Path) -> dict[str, object]:
    """Command, minutes, scores and baselines of one set and seed."""
    runs = out / "runs" / f"{root.name}_{seed}"
    given = [f"seed={seed}", f"budget={budget}", f"config={out / 'configs'}", "overwrite=true"]
    command = [sys.executable, str(ROOT / "src" / "init.py"), str(root), *given, "run=true", f"output={runs}"]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    run = load_run(max(runs.glob("*/*"), key=lambda path: path.stat().st_mtime))
    row: dict[str, object] = {"set": root.name, "seed": seed, "budget": budget}
    row["minutes"] = round((time.perf_counter() - began) / 60, 1)
    for split in ("val", "test"):
        row[f"{split} mIoU"] = run.score(split, "mIoU")
        row |= {f"{split} {name}": score for name, score in run.baselines.get(split, {}).items()}
    return row


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("--sets", nargs="+", default=["nuclei", "buildings", "drawn", "water", "climate"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--budget", default="5min")
    parser.add_argument("--out", type=Path, default=Path("runs/first_model"))
    args = parser.parse_args()
    results = HERE / "results.csv"
    for name in args.sets:
        for seed in args.seeds:
            row = one(args.root / name, seed, args.budget, args.out)
            new = not results.exists()
            with results.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
