"""A data set of a million files: how long a start takes the second time, and what workers cost in memory.

    python experiments/races/million_files.py [--files 1000000] [--root FOLDER] [--save]

Half the files are images, half masks, a thousand a folder. Each start is a process of its own: source, checks before
training, content hashes for the manifest, and the first batch of training; the command as a whole is timed beside it.
The first start reads every file; the second is what counts. Memory is what each worker has written to and nobody else
sees, and its proportional share of all that it sees (PSS), after it has read for a while, on the million files and on a
thousand. Pages of the mapped table are the system's cache: they are in the share, once for all workers, and go when
memory is short.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
TARGET = 10.0
FOLDER = 1000
WORKERS = (1, 2, 4)
FLAT = 5.0
"""MB that a worker's own memory may grow by with the million files, or with the number of workers."""


def write(root: Path, files: int) -> None:
    """Pairs of 8 × 8 pixels; two masks take turns."""
    with tempfile.TemporaryDirectory() as folder:
        examples = []
        for name, pixels in (
            ("image.png", np.full((8, 8, 3), 100, np.uint8)),
            ("0.png", np.zeros((8, 8), np.uint8)),
            ("1.png", np.ones((8, 8), np.uint8)),
        ):
            Image.fromarray(pixels).save(Path(folder) / name)
            examples.append((Path(folder) / name).read_bytes())
    for index in range(files // 2):
        place = f"{index // FOLDER:04}/{index % FOLDER:04}.png"
        for kind, data in (("images", examples[0]), ("masks", examples[1 + index % 2])):
            path = root / kind / place
            if index % FOLDER == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    time.sleep(3)  # folders that changed a moment ago are not remembered


def start(root: Path, workers: int) -> dict[str, float]:
    """Seconds of each step up to the first batch; megabytes of the worker that has most, after a while."""
    spent, last = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[name], last = now - last, now

    from perpixel.augment import Light
    from perpixel.data import DataModule, Folder

    lap("imports")
    source = Folder(str(root), ["a", "b"], mean=[0.5] * 3, std=[0.2] * 3)
    data = DataModule(source, Light(size=(8, 8)), batch_size=8, num_workers=workers)
    lap("source")
    data.prepare_data()
    lap("checks")
    data.fingerprints()
    lap("content hashes")
    loader = data.train_dataloader()
    batches = iter(loader)
    next(batches)
    lap("first batch")
    spent["all"] = sum(spent.values())
    for _ in range(min(500, len(loader) - 1)):
        next(batches)
    if workers:
        processes = [worker.pid for worker in batches._workers]
        own, proportional = zip(*(memory(pid) for pid in processes), strict=True)
        spent["own"], spent["share"] = max(own), max(proportional)
    return spent


def memory(pid: int) -> tuple[float, float]:
    """Megabytes of a process (Linux): its own, written to, and its proportional share of all."""
    rows = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    sizes = {row[0]: int(row[1]) / 1024 for row in rows}
    return sizes["Private_Dirty:"], sizes["Pss:"]


def child(root: Path, workers: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--start", str(root), str(workers)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def command(root: Path) -> float:
    """Seconds from typing ``python src/train.py …`` to the picture of its first batch."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        keys = ["data=folder", f"data.source.root={root}", "data.source.classes=[a,b]", "data.size=[32,32]"]
        keys += ["data.mean=[0.5,0.5,0.5]", "data.std=[0.2,0.2,0.2]", "data.num_workers=2", "encoder=resnet18"]
        begun = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, str(HERE.parents[1] / "src" / "train.py"), *keys, f"hydra.run.dir={run}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while not (run / "first_batch.png").exists():
                if process.poll() is not None:
                    raise RuntimeError(f"the training ended with {process.returncode} before its first step")
                time.sleep(0.05)
            spent = time.perf_counter() - begun
            process.kill()
    return spent


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def report(many: Path, few: Path, files: int) -> str:
    first, again = child(many, 2), child(many, 2)
    child(few, 1)
    command(many)  # what only a whole run looks for is looked for once, too
    steps = ["imports", "source", "checks", "content hashes", "first batch", "all"]
    costs = {count: (child(few, count), child(many, count)) for count in WORKERS}
    by_files = max(large["own"] - small["own"] for small, large in costs.values())
    by_workers = max(pair[side]["own"] - costs[WORKERS[0]][side]["own"] for pair in costs.values() for side in (0, 1))
    growth = max(by_files, by_workers)
    memories = [
        [str(count), *(f"{run[name]:.0f}" for run in pair for name in ("own", "share"))]
        for count, pair in costs.items()
    ]
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    cores = len(os.sched_getaffinity(0))
    return "\n\n".join([
        f"{files:,} files, {cores} cores, load {os.getloadavg()[0]:.1f} at the end, {when}.",
        table(
            ["seconds of a start with 2 workers", *steps],
            [[name, *(f"{run[step]:.1f}" for step in steps)] for name, run in (("first", first), ("second", again))],
        ),
        f"The second start takes {again['all']:.1f} s (target {TARGET:g} s: "
        f"{'PASS' if again['all'] < TARGET else 'MISS'}). The command itself, with all that a run imports, builds "
        f"and writes before its first step, takes {command(many):.1f} s, and {command(few):.1f} s with 1,000 files.",
        table(["workers", "MB own, 1,000 files", "share", f"own, {files:,} files", "share"], memories),
        f"A worker's own memory grows by {by_files:.1f} MB at most with the files, and by {by_workers:.1f} MB with the "
        f"number of workers (flat within {FLAT:g} MB: {'PASS' if growth <= FLAT else 'MISS'}).",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--root", type=Path, help="where the files are, or are written to; a temporary folder without")
    parser.add_argument("--save", action="store_true", help="write million_files.md beside this file")
    parser.add_argument("--start", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        print(json.dumps(start(Path(arguments.start[0]), int(arguments.start[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        many, few = arguments.root or Path(folder) / "many", Path(folder) / "few"
        if not (many / "images").is_dir():
            write(many, arguments.files)
        write(few, FOLDER)
        text = report(many, few, arguments.files)
    print(text)
    if arguments.save:
        (HERE / "million_files.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
