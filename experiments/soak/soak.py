"""Kill one training again and again at random moments until it is done, and compare it with one that was left alone.

``python experiments/soak/soak.py --kills 100 --save`` prints the table and writes ``results.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from perpixel.tracking.files import PARTIAL
from perpixel.training.checkpoint_index import INDEX_FILE
from perpixel.training.store import CheckpointStore

HERE = Path(__file__).parent
PRELOADED = [
    "perpixel.api",
    "perpixel.workflows.job",
    "perpixel.data.folder.source",
    "albumentations",
    "perpixel.models",
]
IN_WRITE = "writing a checkpoint"
LIFE_S = 0.5
"""Longest wait before a kill at a random moment, from the first state that the process wrote."""
SAME = ("epoch", "step", "lr", "train/loss", "val/loss", "val/mIoU")


@dataclass
class Soak:
    """What happened.

    Attributes:
        phases: kills by what the process was doing.
        damaged: listed checkpoints that were not valid after a kill.
        lives: processes that were needed.
        different: names of what differs from the undisturbed run; empty is what is promised.
    """

    phases: Counter[str] = field(default_factory=Counter)
    damaged: int = 0
    lives: int = 0
    different: list[str] = field(default_factory=list)


def train(overrides: Sequence[str]) -> None:
    """In the process that is killed."""
    os.setpgrp()  # data workers are killed with it
    torch.set_num_threads(1)
    import perpixel

    perpixel.train(list(overrides))


def start(overrides: Sequence[str]) -> BaseProcess:
    """A process of its own, forked from a server that has imported everything: a life costs no imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=train, args=(list(overrides),))
    process.start()
    return process


def soak(overrides: Sequence[str], run: Path, undisturbed: Path, kills: int, seed: int = 0, in_writes: int = 0) -> Soak:
    """Train into ``undisturbed`` without interruption and into ``run`` with SIGKILLs; compare.

    Half of the kills are aimed at a write, half fall at random moments once the process has written a state. There are
    ``kills`` of them, and more until ``in_writes`` have hit a checkpoint half written.
    """
    whole = start([*overrides, f"hydra.run.dir={undisturbed}"])
    whole.join()
    if whole.exitcode != 0:
        raise SystemExit("the undisturbed training failed")
    rng, found = random.Random(seed), Soak()
    next_start = [*overrides, f"hydra.run.dir={run}"]
    while sum(found.phases.values()) < kills or found.phases[IN_WRITE] < in_writes:
        old = _partial(run)  # of killed lives; the next one deletes it, but not at once
        process = start(next_start)
        found.lives += 1
        killed = _kill(process, run, rng, old, in_write=rng.random() < 0.5)
        if not killed:
            break
        found.phases[_phase(run, old)] += 1
        found.damaged += _damaged(run)
        if (run / "config.yaml").exists():
            next_start = [f"resume={run}"]
    else:
        last = start(next_start)
        found.lives += 1
        last.join()
    found.different = differences(run, undisturbed)
    return found


def _kill(process: BaseProcess, run: Path, rng: random.Random, old: set[str], in_write: bool) -> bool:
    """Whether the process was killed before it was done."""
    before, wait, moment = _states(run), rng.uniform(0.0, LIFE_S), math.inf
    while process.is_alive():
        if not in_write and moment == math.inf and _states(run) - before:
            moment = time.monotonic() + wait
        writing = in_write and _half_written(run, old) and rng.random() < 0.3
        if writing or time.monotonic() >= moment:
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
            return True
        time.sleep(0.0005)
    return False


def _states(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob("state-*.ckpt")}


def _partial(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob(f"{PARTIAL}*")}


def _half_written(run: Path, old: set[str]) -> set[str]:
    return {name for name in _partial(run) - old if INDEX_FILE not in name}


def _phase(run: Path, old: set[str]) -> str:
    """What the process was at, told by what it left beside what earlier ones had left."""
    directory = run / "checkpoints"
    if not directory.is_dir():
        return "before the first checkpoint"
    if _half_written(run, old):
        return IN_WRITE
    left = _partial(run) - old
    listed = {entry.file for kind in ("state", "best") for entry in CheckpointStore(directory).entries(kind)}
    unlisted = {path.name for path in directory.glob("*.ckpt")} - listed
    return "listing a checkpoint" if left or unlisted else "between checkpoints"


def _damaged(run: Path) -> int:
    """How many of the listed states do not load; the newest one must."""
    store = CheckpointStore(run / "checkpoints", keep=99)
    entries = store.entries("state")
    newest = store.newest_valid("state")
    if entries and newest is None:
        raise SystemExit("states are listed, and none is valid")
    if newest is not None:
        torch.load(newest[0], weights_only=True)
    return 0 if newest is None else len(entries) - 1 - [entry.file for entry in entries].index(newest[1].file)


def differences(run: Path, undisturbed: Path) -> list[str]:
    """Names of tensors, log lines and scores that are not equal to the last bit."""
    weights, others = (_weights(path) for path in (run, undisturbed))
    found = [name for name in others if not torch.equal(weights[name], others[name])]
    found += ["metrics.jsonl"] if _lines(run) != _lines(undisturbed) else []
    scores, other_scores = (json.loads((path / "metrics.json").read_text()) for path in (run, undisturbed))
    return found + (["metrics.json"] if scores != other_scores else [])


def _weights(run: Path) -> dict[str, Any]:
    found = CheckpointStore(run / "checkpoints").newest_valid("state")
    assert found is not None
    content = torch.load(found[0], weights_only=True)
    return {
        f"{part}/{name}": content[part][name]
        for part in ("state_dict", "current_model_state")
        for name in content[part]
    }


def _lines(run: Path) -> list[list[Any]]:
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [[line.get(key) for key in SAME] for line in lines]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true", help="write results.csv")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        overrides = ["experiment=soak", f"output={root}"]
        began = time.monotonic()
        found = soak(overrides, root / "killed", root / "undisturbed", options.kills, options.seed)
    rows = [
        ("kills", sum(found.phases.values())),
        *((f"… {phase}", count) for phase, count in sorted(found.phases.items())),
        ("processes", found.lives),
        ("listed checkpoints found damaged", found.damaged),
        ("tensors, log lines and scores that differ", len(found.different)),
        ("minutes", round((time.monotonic() - began) / 60, 1)),
    ]
    for name, value in rows:
        print(f"{name:45} {value}")
    if sum(found.phases.values()) < options.kills:
        sys.exit(
            "the training was done before it was killed so often: raise trainer.max_epochs in conf/experiment/soak.yaml"
        )
    if options.save:
        with (HERE / "results.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("what", "value"), *rows])
    sys.exit(bool(found.different or found.damaged))


if __name__ == "__main__":
    main()
