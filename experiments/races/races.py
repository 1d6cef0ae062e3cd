"""Races of losses and metrics against their peers: ``python experiments/races/races.py [--pairs 7] [--save]``.

Every round runs ours and then each peer, so that a change of the machine's load meets all of them; the ratio of a round
is our time over that of the fastest peer of the round.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from os import getloadavg
from pathlib import Path

import peers
import torch
import torch.nn.functional as F
from torch import Tensor

from perpixel.labels import LabelSpace
from perpixel.losses import CrossEntropy, Dice, Focal, Lovasz, Sum
from perpixel.metrics import SegmentationMetrics

HERE = Path(__file__).parent
MEMORY_TARGET = 0.45
PATIENCE = 100.0
"""Seconds after which a race ends early, with three rounds at least: some peers take half a minute a round."""
HEADER = """
| race | masks | pairs | ours, ms | best peer, ms | ours / peer: median (range) | target | worst within | limit, ms |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Race:
    """One piece of work; ``target`` is the ratio of times that ours must stay under."""

    name: str
    shape: tuple[int, int, int, int]
    ours: Callable[[int], peers.Work]
    others: dict[str, Callable[[int], peers.Work]]
    target: float
    bytes_per_value: float
    labels: torch.dtype | None = None
    memory: bool = False


def metric(classes: int) -> peers.Work:
    space = LabelSpace(tuple(map(str, range(classes))), ((0, 0, 0),) * classes)
    ours = SegmentationMetrics(space)
    return lambda prediction, target: ours.update(prediction, target)


def deterministic(work: peers.Work) -> peers.Work:
    def strictly(prediction: Tensor, target: Tensor) -> None:
        torch.use_deterministic_algorithms(True)
        work(prediction, target)
        torch.use_deterministic_algorithms(False)

    return strictly


def ce_dice(_: int) -> peers.Work:
    return peers.trained(Sum([CrossEntropy(), Dice()], [1.0, 1.0]))


COUNTERS: dict[str, Callable[[int], peers.Work]] = {
    "torchmetrics, checking": lambda c: peers.torchmetrics_confusion(c, validate=True),
    "torchmetrics, not checking": lambda c: peers.torchmetrics_confusion(c, validate=False),
    "smp get_stats": peers.smp_stats,
    "histc": peers.histc,
}
RACES = [
    Race(
        "metric update from logits",
        (8, 19, 512, 512),
        metric,
        {"torchmetrics JaccardIndex": peers.torchmetrics_jaccard, "smp get_stats": peers.smp_stats},
        0.35,
        4,
    ),
    Race("confusion, uint8 maps", (8, 19, 512, 512), metric, COUNTERS, 1 / 5, 2 / 19, torch.uint8),
    Race("confusion, int64 maps", (8, 19, 512, 512), metric, COUNTERS, 1 / 1.3, 16 / 19, torch.int64),
    Race(
        "confusion, uint8, deterministic mode",
        (8, 19, 512, 512),
        lambda classes: deterministic(metric(classes)),
        {"ours, mode off": metric},
        1.1,
        2 / 19,
        torch.uint8,
    ),
    Race(
        "confusion, 150 classes, uint8",
        (2, 150, 256, 256),
        metric,
        {"torchmetrics MeanIoU": peers.torchmetrics_mean_iou},
        1 / 100,
        2 / 150,
        torch.uint8,
    ),
    Race(
        "Dice, both ways",
        (4, 19, 512, 512),
        lambda _: peers.trained(Dice()),
        {"smp": lambda _: peers.smp_loss("Dice")},
        0.4,
        12,
        memory=True,
    ),
    Race(
        "Lovász, both ways",
        (2, 150, 256, 256),
        lambda _: peers.trained(Lovasz()),
        {"smp": lambda _: peers.smp_loss("Lovasz")},
        0.1,
        12,
    ),
    Race(
        "Focal, both ways",
        (2, 150, 256, 256),
        lambda _: peers.trained(Focal()),
        {"smp": lambda _: peers.smp_loss("Focal")},
        0.05,
        12,
    ),
    Race(
        "ce_dice, both ways",
        (4, 19, 512, 512),
        ce_dice,
        {"torch cross_entropy alone": lambda _: peers.torch_cross_entropy()},
        1.6,
        12,
    ),
]


def batch(race: Race, blobs: bool) -> tuple[Tensor, Tensor]:
    """Logits (or label maps) and target, of which a twentieth is ignored; blobs are 32 px wide, as regions are."""
    images, classes, height, width = race.shape
    rng = torch.Generator().manual_seed(0)
    cell = 32 if blobs else 1
    target = torch.randint(0, classes, (images, 1, height // cell, width // cell), generator=rng).float()
    target = F.interpolate(target, (height, width), mode="nearest")[:, 0].long()
    wrong = torch.randint(0, classes, target.shape, generator=rng)
    guess = torch.where(torch.rand(target.shape, generator=rng) < 0.8, target, wrong)
    target[torch.rand(target.shape, generator=rng) < 0.05] = peers.IGNORE
    if race.labels is not None:
        return guess.to(race.labels), target.to(race.labels)
    logits = torch.randn(race.shape, generator=rng)
    return logits.scatter_add_(1, guess.unsqueeze(1), torch.full_like(logits[:, :1], 3.0)), target


def seconds(work: peers.Work, prediction: Tensor, target: Tensor) -> float:
    start = time.perf_counter()
    work(prediction, target)
    return time.perf_counter() - start


def run(race: Race, blobs: bool, pairs: int) -> dict[str, list[float]]:
    """Seconds per round of each contestant, ours first."""
    prediction, target = batch(race, blobs)
    classes = race.shape[1]
    works = {"ours": race.ours(classes), **{name: make(classes) for name, make in race.others.items()}}
    for work in works.values():  # warm up, on a small part where the whole takes long
        work(prediction[:1, ..., :64, :64], target[:1, :64, :64])
    seconds(works["ours"], prediction, target)
    times: dict[str, list[float]] = {name: [] for name in works}
    start = time.perf_counter()
    for _ in range(pairs):
        for name, work in works.items():
            times[name].append(seconds(work, prediction, target))
        if len(times["ours"]) >= 3 and time.perf_counter() - start > PATIENCE:
            break
    return times


def bandwidth() -> float:
    """Bytes per second of a copy between arrays too large for the caches, the best of five."""
    source = torch.ones(2**26)
    goal = torch.empty_like(source).copy_(source)
    fastest = min(seconds(lambda a, b: b.copy_(a), source, goal) for _ in range(5))
    return 2 * source.numel() * 4 / fastest


def peak(index: int, name: str) -> float:
    """Bytes above logits and target at the peak, in a process of its own."""
    command = [sys.executable, __file__, "--peak", str(index), name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def report_peak(index: int, name: str) -> None:
    race = RACES[index]
    work = race.ours(race.shape[1]) if name == "ours" else race.others[name](race.shape[1])
    prediction, target = batch(race, blobs=True)
    work(prediction[:1, ..., :64, :64], target[:1, :64, :64])
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident
    work(prediction, target)
    status = Path("/proc/self/status").read_text()
    highest = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(highest - resident)


def row(race: Race, blobs: bool, times: dict[str, list[float]], speed: float) -> str:
    best = [min(rest) for rest in zip(*(times[name] for name in race.others), strict=True)]
    ratios = [ours / other for ours, other in zip(times["ours"], best, strict=True)]
    fastest = min(race.others, key=lambda name: statistics.median(times[name]))
    median, worst = statistics.median(ratios), max(ratios)
    values = race.shape[0] * race.shape[1] * race.shape[2] * race.shape[3]
    limit = values * race.bytes_per_value / speed
    cells = [
        f"{race.name}, {'×'.join(map(str, race.shape))}",
        "blobs" if blobs else "random",
        f"{len(ratios)}",
        f"{statistics.median(times['ours']) * 1e3:.1f}",
        f"{fastest}: {statistics.median(times[fastest]) * 1e3:.1f}",
        f"{median:.4f} ({min(ratios):.4f}–{worst:.4f})",
        f"{race.target:.3g}",
        "yes" if worst <= race.target else "median only" if median <= race.target else "no",
        f"{limit * 1e3:.2f}",
    ]
    return "| " + " | ".join(cells) + " |"


def memory_row(index: int, race: Race) -> str:
    ours, other = peak(index, "ours"), peak(index, next(iter(race.others)))
    ratio = ours / other
    within = "yes" if ratio <= MEMORY_TARGET else "no"
    cells = f"{race.name}, peak MB | blobs | 1 | {ours / 1e6:.0f} | {other / 1e6:.0f} | {ratio:.3f} | {MEMORY_TARGET}"
    return f"| {cells} | {within} | |"


def machine(speed: float) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    processor = ", ".join(names) or platform.processor()
    return (
        f"{processor}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, copy {speed / 1e9:.1f} GB/s, "
        f"load average at the start {getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    )


def table(only: str, pairs: int) -> Iterator[str]:
    """The table's lines, each as soon as it is known."""
    speed = bandwidth()
    yield machine(speed) + "\n" + HEADER
    for index, race in enumerate(RACES):
        if only not in race.name:
            continue
        for blobs in (True, False):
            yield row(race, blobs, run(race, blobs, pairs), speed)
        if race.memory:
            yield memory_row(index, race)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", default="", help="races whose name holds this text")
    parser.add_argument("--save", action="store_true", help="write results.md beside this file")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        report_peak(int(args.peak[0]), args.peak[1])
        return
    lines = []
    for line in table(args.only, args.pairs):
        print(line, flush=True)
        lines.append(line)
        if args.save:
            (HERE / "results.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
