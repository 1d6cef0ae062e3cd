"""Folders that are written to and read from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from shutil import disk_usage

from perpixel.tracking.files import nearest, unwritable
from perpixel.workflows.doctor.finding import Finding, Level

LEAST_FREE = 500 << 20
SCARCE = 5 << 30
"""Bytes: below the first a run's checkpoints hardly fit, below the second a sweep's do not."""

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".npy", ".gif")
"""What images and masks are read from; `perpixel.data.formats.suffixes` would import torch (a test compares them)."""

LOOKED_AT = 20_000
"""Files of a data root that are counted, at most."""


def output(folder: Path) -> Iterator[Finding]:
    """Where runs go: it can be written to, and how much room there is. Nothing is left there."""
    if error := unwritable(folder):
        yield Finding(Level.FAULT, "output", f"'{folder}' cannot be written to: {error}", "choose another: output=…")
        return
    free = disk_usage(nearest(folder)).free
    shown = f"'{folder}' can be written to, {free / 2**30:.1f} GiB free"
    if free < SCARCE:
        level = Level.FAULT if free < LEAST_FREE else Level.WARNING
        yield Finding(level, "output", shown, "make room, or choose another disk: output=…")
    else:
        yield Finding(Level.OK, "output", shown)


def caches(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Where inspected files, downloaded weights, fonts and temporary files are kept."""
    cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    hub = Path(environment.get("HF_HOME") or cache / "huggingface")
    places = {
        "cache": (cache / "perpixel", "XDG_CACHE_HOME", "files are inspected anew at every start"),
        "weights": (hub, "HF_HOME", "encoder.weights=imagenet cannot keep what it fetches"),
        "temporary files": (Path(tempfile.gettempdir()), "TMPDIR", "exports and init need it"),
    }
    for about, (folder, variable, lost) in places.items():
        if error := unwritable(folder):
            told = f"'{folder}' cannot be written to ({error}): {lost}"
            yield Finding(Level.WARNING, about, told, f"set {variable} to a folder that can")
        else:
            yield Finding(Level.OK, about, f"'{folder}'")


def data(root: Path) -> Finding:
    """A folder of images: there, readable, and how many."""
    if not root.is_dir():
        return Finding(Level.FAULT, "data", f"'{root}' is no folder that is here", "give the folder: root=…")
    try:
        files = list(islice(_files(root), LOOKED_AT + 1))
    except OSError as error:
        return Finding(
            Level.FAULT, "data", f"'{error.filename}' cannot be read: {error.strerror}", f"chmod -R u+rX '{root}'"
        )
    pictures = [path for path in files if path.suffix.lower() in IMAGES]
    if not pictures:
        told = f"'{root}' holds no picture ({len(files)} other files); read are {' '.join(IMAGES)}"
        return Finding(Level.FAULT, "data", told, "give the folder that holds images and masks")
    if closed := next((path for path in pictures if not os.access(path, os.R_OK)), None):
        return Finding(Level.FAULT, "data", f"'{closed}' cannot be read", f"chmod -R u+rX '{root}'")
    more = "more than " if len(files) > LOOKED_AT else ""
    told = f"'{root}': {more}{len(pictures):,} picture{'s' * (len(pictures) != 1)}"
    return Finding(Level.OK, "data", told, f"what is wrong with them: perpixel init '{root}'")


def _files(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, _, names in os.walk(root, onerror=refuse):
        yield from (Path(folder, name) for name in names)
