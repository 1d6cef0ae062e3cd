"""Run directories that others made: a link in one would have us read or overwrite a file elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def refuse_links(run: Path) -> None:
    """Refuse a run directory with links that lead out of it (an unpacked archive may bring some).

    Raises:
        ValueError: names the first link, and where it leads.
    """
    home = run.resolve()
    for path in _links(run):
        target = path.resolve()
        if not target.is_relative_to(home):
            raise ValueError(
                f"'{path}' is a link that leads out of the run directory, to '{target}': what is written to the run "
                "would be written there. Put a copy of the file in its place, or remove it."
            )


def _links(run: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(run):  # does not follow links
        yield from (path for name in (*folders, *files) if (path := Path(folder, name)).is_symlink())
