"""How long the audit takes on many images, and what memory it needs.

    python experiments/audit/audit_speed.py [--images 10000] [--side 512] [--root FOLDER] [--save]

Writes so many pairs (JPEG at quality 85, PNG masks of eight classes; about 0.7 GB for ten thousand at 512 × 512), runs
the public command on them in a process of its own with an empty cache folder, and deletes them. Memory is the
proportional share (PSS) of the command and all its workers, added up, four times a second; the greatest counts.
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

import cv2
import numpy as np

HERE = Path(__file__).parent
CLASSES = [f"class{index}" for index in range(8)]
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}
MINUTES = 10.0
"""What ten thousand images at 512 × 512 may take on two cores."""


def write(root: Path, images: int, side: int) -> None:
    """Regions of eight classes with objects of all sizes on them, in a picture that shows them."""
    rng = np.random.default_rng(0)
    done = 0
    for split, share in SPLITS.items():
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for _ in range(round(share * images)):
            mask = draw_mask(rng, side)
            cv2.imwrite(
                str(root / "images" / split / f"{done:06}.jpg"), picture_of(rng, mask), [cv2.IMWRITE_JPEG_QUALITY, 85]
            )
            cv2.imwrite(str(root / "masks" / split / f"{done:06}.png"), mask)
            done += 1


def draw_mask(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side) uint8: four large regions, forty ellipses from a few pixels to a tenth of the side, five lines."""
    height = cv2.resize(rng.random((5, 5), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    mask = np.digitize(height, (0.3, 0.5, 0.7)).astype(np.uint8)
    for size in np.exp(rng.uniform(np.log(2), np.log(side / 10), 40)):
        centre, axes = rng.integers(0, side, 2).tolist(), (max(int(size), 1), max(int(size / 2), 1))
        cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, int(rng.integers(4, 7)), -1)
    for start, end in rng.integers(0, side, (5, 2, 2)):
        cv2.line(mask, start.tolist(), end.tolist(), 7, 2)
    return mask


def picture_of(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """(side, side, 3) uint8: a colour for each class, light that changes slowly, and noise."""
    side = len(mask)
    colours = rng.integers(20, 200, (8, 3))
    light = cv2.resize(rng.uniform(0.6, 1.3, (4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 8, (side, side, 1))
    return (colours[mask] * light[..., None] + noise).clip(0, 255).astype(np.uint8)


def measure(root: Path, out: Path) -> dict[str, float]:
    """Minutes and gigabytes of one audit."""
    command = [
        sys.executable, str(HERE.parents[1] / "src" / "audit.py"), "data=folder", f"data.source.root={root}",
        "data.source.split=folders", f"data.source.classes=[{','.join(CLASSES)}]", f"output={out}",
    ]  # fmt: skip
    begun, peak = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as cache:
        audit = subprocess.Popen(command, env=os.environ | {"XDG_CACHE_HOME": cache})
        while audit.poll() is None:
            peak = max(peak, sum(map(share_of, family(audit.pid))))
            time.sleep(0.25)
    if audit.returncode:
        sys.exit(f"the audit failed with {audit.returncode}")
    return {"minutes": (time.perf_counter() - begun) / 60, "gigabytes": peak / 1e9}


def family(parent: int) -> list[int]:
    """A process and all that it started."""
    children = [int(child) for path in Path(f"/proc/{parent}/task").glob("*/children") for child in read(path).split()]
    return [parent, *(one for child in children for one in family(child))]


def share_of(process: int) -> int:
    """Proportional share of memory in bytes, 0 where the process has ended."""
    lines = read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def read(path: Path) -> str:
    """What a process says of itself, as long as it is there."""
    try:
        return path.read_text()
    except OSError:
        return ""


def main() -> None:
    """Write, measure, delete; print the line, and keep it with ``--save``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--root", type=Path, help="where the pairs go; default: the system's temporary folder")
    parser.add_argument("--save", action="store_true", help="write results.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.root) as folder:
        root = Path(folder)
        write(root, args.images, args.side)
        size = sum(path.stat().st_size for path in root.rglob("*.*")) / 1e9
        found = measure(root, root / "out")
        content = json.loads(next((root / "out").rglob("audit.json")).read_text())
        page = next((root / "out").rglob("audit.html")).stat().st_size / 1e6
    allowed = MINUTES * args.images * args.side**2 / (10_000 * 512**2)
    line = (
        f"| {args.images:,} | {args.side} × {args.side} | {size:.2f} GB | {found['minutes']:.1f} | "
        f"{found['gigabytes']:.2f} | {page:.1f} MB | {len(content['faults'])} | {len(content['leaks'])} | "
        f"{'PASS' if found['minutes'] <= allowed else 'FAIL'} (at most {allowed:.1f}) |"
    )
    columns = ("images", "size", "files", "minutes", "GB of memory", "page", "faults", "leaks", "verdict")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"
    print(f"{head}\n{line}")
    if args.save:
        when = datetime.now(UTC).strftime("%Y-%m-%d")
        machine = (
            f"{os.cpu_count()} CPU cores, {when}; `python experiments/audit/audit_speed.py --images {args.images}`"
        )
        (HERE / "results.md").write_text(f"# The audit on many images\n\n{machine}\n\n{head}\n{line}\n")


if __name__ == "__main__":
    main()
