"""The races' table: one row a race and kind of masks, a verdict in each."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from contests import Race

COLUMNS = [
    "race",
    "masks",
    "pairs",
    "ours, ms",
    "fastest peer, ms",
    "ours / peer: median (quartiles)",
    "worst pair",
    "target",
    "verdict",
    "limit, ms",
    "peak MB: ours / peer",
]
HEADER = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def row(race: Race, kind: str, rounds: list[dict[str, float]], peaks: dict[str, float], speed: float) -> str:
    """One line of the table.

    Args:
        race: what was run.
        kind: of the masks.
        rounds: seconds by contestant, one entry a round.
        peaks: bytes above what is given, by contestant; a slow race's others are among them on one kind of masks only.
        speed: bytes per second of the memory.
    """
    ratios = [each["ours"] / min(each[name] for name in race.others) for each in rounds]
    times = {name: statistics.median(each[name] for each in rounds) for name in race.contestants}
    fastest = min(race.others, key=lambda name: times[name])
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    cells = [
        f"{race.name}, {'×'.join(map(str, race.shape))}",
        kind,
        str(len(rounds)),
        f"{times['ours'] * 1e3:.2f}",
        f"{fastest}: {times[fastest] * 1e3:.1f}",
        f"{statistics.median(ratios):.4f} ({low:.4f}–{high:.4f})",
        f"{max(ratios):.4f}",
        "–" if race.target is None else f"{race.target:.3g}",
        verdict(statistics.median(ratios), max(ratios), race.target),
        f"{race.bytes_moved / speed * 1e3:.3g}",
        memory(race, peaks, fastest),
    ]
    return "| " + " | ".join(cells) + " |"


def verdict(median: float, worst: float, target: float | None) -> str:
    """PASS if even the worst pair keeps the target."""
    if target is None:
        return "–"
    return "PASS" if worst <= target else "MISS in the worst pair" if median <= target else "MISS"


def memory(race: Race, peaks: dict[str, float], fastest: str) -> str:
    """Both peaks, and whether their ratio keeps its target, if the race has one."""
    if fastest not in peaks:
        return f"{peaks['ours'] / 1e6:.1f} / not measured"
    mine, theirs = peaks["ours"] / 1e6, peaks[fastest] / 1e6
    told = f"{mine:.1f} / {theirs:.1f}"
    if race.memory is None:
        return told
    return f"{told}, target {race.memory}×: {'PASS' if mine <= race.memory * theirs else 'MISS'}"


def check(name: str, value: float, bound: float) -> str:
    """A line below the table."""
    return f"- {name}: {value:.2g}, target ≤ {bound:.2g}: {'PASS' if value <= bound else 'MISS'}"


def machine(speed: float, device: torch.device) -> str:
    """What it ran on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ["torch", "torchmetrics", "segmentation-models-pytorch", "monai"]
    return (
        f"{name}; {os.cpu_count()} cores, {torch.get_num_threads()} threads on both sides, {memory_gb:.0f} GB; "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"{', '.join(f'{package} {_version(package)}' for package in packages)}; copying moves {speed / 1e9:.1f} GB/s; "
        f"load average at the start {os.getloadavg()[0]:.2f}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return (
        ", ".join({line.split(":")[1].strip() for line in lines if line.startswith("model name")})
        or platform.processor()
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
