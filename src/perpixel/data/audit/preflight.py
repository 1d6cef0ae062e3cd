"""What training's look at the data refuses is a fault in the audit too: a green page must train."""

from __future__ import annotations

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from perpixel.data.audit.sample import Fault
from perpixel.data.base import DataSource, Split, SplitName
from perpixel.data.files.source import FileSplit


def refused(source: DataSource, progress: bool = True) -> list[Fault]:
    """All that ``Split.verify`` refuses, split by split: sample by sample where files are at fault.

    What is found in files is kept in the cache folder, so that a training behind the audit need not look again.

    Args:
        source: what is looked at.
        progress: whether to show which split is looked at, and for how long.
    """
    found: list[Fault] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, disable=not progress) as shown:
        for name in source.splits:
            split = source.split(name)
            task = shown.add_task(f"checking {name} ({len(split):,} samples) as training does", total=None)
            found += _refused(name, split)
            shown.update(task, total=1, completed=1)
    return found


def _refused(name: SplitName, split: Split) -> list[Fault]:
    try:
        if isinstance(split, FileSplit) and (faults := split.inspect().faults):
            return [Fault(name, at, faults[pair.name]) for at, pair in enumerate(split.pairs) if pair.name in faults]
        split.verify(name)
    except ValueError as error:
        return [Fault(name, None, str(error))]
    except OSError:  # a file is gone, and reading it tells which
        return []
    return []
