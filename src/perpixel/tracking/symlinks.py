"""Run directories that others made: a link in one would have us read or overwrite a file elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_WANDB_LOG = re.compile(r"core-debug-[\w-]+\.log")


def refuse_links(run: Path) -> None:
    """Refuse a run directory with links that lead out of it (an unpacked archive may bring some).

    W&B's own link to the debug log in its cache folder may stay: nothing writes through it.

    Raises:
        ValueError: names the first link, and where it leads.
    """
    home = run.resolve()
    for path in _links(run):
        target = path.resolve()
        if not target.is_relative_to(home) and not _is_wandbs(path.relative_to(run), target):
            raise ValueError(
                f"'{path}' is a link that leads out of the run directory, to '{target}': what is written to the run "
                "would be written there. Put a copy of the file in its place, or remove it."
            )


def _links(run: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(run):  # does not follow links
        yield from (path for name in (*folders, *files) if (path := Path(folder, name)).is_symlink())


def _is_wandbs(link: Path, target: Path) -> bool:
    """Whether a link is the one that wandb puts into the logs of each of its runs, to its service's log."""
    return link.parts[0] == "wandb" and link.name == "debug-core.log" and bool(_WANDB_LOG.fullmatch(target.name))
