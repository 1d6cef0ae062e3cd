"""Races of losses and metrics against their peers: ``python experiments/races/races.py [--pairs 7] [--save]``.

Every round runs ours and then each peer, so that a change of the machine's load meets all of them; the ratio of a round
is our time over that of the fastest peer of the round. A quarter to half an hour on two quiet cores, most of it smp's
Lovász and Focal and torchmetrics' MeanIoU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from contests import RACES, Race, batch, metric
from measure import KINDS, bandwidth, no_waiting, own_peaks, peaks, run
from peers import IGNORE
from segmentation_models_pytorch.losses import DiceLoss
from table import HEADER, check, machine, row

from perpixel.losses import Dice

HERE = Path(__file__).parent
LEAST = 7
"""Rounds of a race whose result is kept."""
EXACT = 1e-6
"""Relative difference that the Dice of 32 bits may have to that of 64."""


def lines(only: str, pairs: int, device: torch.device) -> Iterator[str]:
    """The result's lines, each as soon as it is known."""
    start, speed = time.monotonic(), bandwidth(device)
    yield machine(speed, device) + "\n\n" + HEADER
    for index, race in enumerate(RACES):
        if only in race.name:
            held = peaks(index, device)
            for kind in KINDS:
                yield row(race, kind, watched(race, kind, pairs, device), held[kind], speed)
    yield ""
    if only in "Dice":
        for kind in KINDS:
            yield check(
                f"Dice in 32 bits against smp's in 64, {kind}, relative difference", inexactness(kind, device), EXACT
            )
    if device.type == "cuda":
        yield from waits(device)
    yield f"\nAll in {(time.monotonic() - start) / 60:.1f} minutes; load average at the end {os.getloadavg()[0]:.2f}."


def watched(race: Race, kind: str, pairs: int, device: torch.device) -> list[dict[str, float]]:
    """The rounds of a race, told on stderr as they come."""
    rounds = []
    for number, times in enumerate(run(race, KINDS[kind], pairs, device), start=1):
        rounds.append(times)
        told = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in times.items())
        print(f"  {race.name}, {kind}, pair {number} of {pairs}: {told}", file=sys.stderr, flush=True)
    return rounds


def inexactness(kind: str, device: torch.device) -> float:
    """How far our Dice of the race's float32 logits is from another library's of the same in float64."""
    race = next(race for race in RACES if race.name == "Dice")
    logits, target = batch(race, KINDS[kind], device)
    present = len(target[target != IGNORE].unique())  # smp counts the others as 0, ours leaves them out
    exact = float(DiceLoss("multiclass", ignore_index=IGNORE)(logits.double(), target)) * race.shape[1] / present
    return abs(float(Dice()(logits, target)) / exact - 1)


def waits(device: torch.device) -> Iterator[str]:
    """Whether the host waits for the GPU in the metric's update, from logits and from label maps."""
    for race in RACES:
        if race.ours is metric:
            prediction, target = batch(race, True, device)
            work = metric(race.shape[1], device)
            work(prediction, target)
            try:
                with no_waiting():
                    work(prediction, target)
                yield f"- {race.name}: the host does not wait for the GPU: PASS"
            except RuntimeError as error:
                yield f"- {race.name}: the host waits for the GPU ({error}): MISS"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=LEAST, help="rounds of each race")
    parser.add_argument("--only", default="", help="races whose name holds this text")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--save", action="store_true", help="write results.md (or results_cuda.md) beside this file")
    parser.add_argument("--peaks", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU that PyTorch can use; there is none here.")
    if args.save and args.pairs < LEAST:
        parser.error(f"--save needs at least {LEAST} pairs, not {args.pairs}: fewer do not show the spread.")
    device = torch.device(args.device)
    if args.peaks is not None:
        print(json.dumps(own_peaks(args.peaks, device)))
        return
    told = []
    for line in lines(args.only, args.pairs, device):
        print(line, flush=True)
        told.append(line)
        if args.save:
            (HERE / ("results.md" if args.device == "cpu" else "results_cuda.md")).write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
