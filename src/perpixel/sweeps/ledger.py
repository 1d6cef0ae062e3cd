"""The list of a sweep's jobs (``sweep.json``), shared by everybody who works on it.

A job's number and directory are given once, under the sweep's lock. How far it is stands in its own run directory, and
who works on it is told by a lock that the system gives up when its holder dies: no clock and no heartbeat decides.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from perpixel.config.compose import job_name
from perpixel.config.errors import ConfigError
from perpixel.tracking import manifest
from perpixel.tracking.code import code_digest
from perpixel.tracking.files import in_use, locked, make_directory, write_atomically
from perpixel.tracking.runs import SWEEP_FILE, Status, load_status

CLAIM = ".claim"
DATA_UNKNOWN: Mapping[str, str] = {}

PROGRESS: tuple[Status, ...] = ("finished", "pruned", "running", "interrupted", "failed", "pending")

State = Literal["new", "kept", "resumed", "retried", "failed"]


@dataclass(frozen=True)
class Request:
    """A job that a command asks for.

    Attributes:
        overrides: as Hydra hands them to the job, without its own.
        asked: see ``perpixel.sweeps.identity``.
        data: gives the content hashes of its splits, by name; called only where an earlier run has to be compared.
    """

    overrides: tuple[str, ...]
    asked: str
    data: Callable[[], Mapping[str, str]] = field(default=lambda: DATA_UNKNOWN, compare=False)


@dataclass(frozen=True)
class Row:
    """A job of the ledger.

    Attributes:
        num: its number in the sweep, given once.
        dir: name of its run directory.
        overrides: see ``Request``.
        asked: see ``Request``; None for a job that a foreign sweeper brought.
        trial: the search's number for it, None in a grid.
    """

    num: int
    dir: str
    overrides: tuple[str, ...]
    asked: str | None = None
    trial: int | None = None


@dataclass(frozen=True)
class Start:
    """What one command has to do.

    Attributes:
        id: names it in the ledger.
        jobs: each job that was asked for once, with what becomes of it.
    """

    id: str
    jobs: tuple[tuple[Row, State], ...]

    @property
    def todo(self) -> list[Row]:
        """The jobs that are to be run."""
        return [row for row, state in self.jobs if state in ("new", "resumed", "retried")]

    def __str__(self) -> str:
        told = {
            "kept": "finished and kept",
            "resumed": "to go on with",
            "retried": "to be repeated",
            "failed": "failed before (sweep.retry=true repeats them)",
            "new": "new",
        }
        counts = {state: sum(found == state for _, found in self.jobs) for state in told}
        return ", ".join(f"{count} {told[state]}" for state, count in counts.items() if count)


class Ledger:
    """The jobs of one sweep directory.

    Args:
        directory: the sweep's.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / SWEEP_FILE

    def read(self) -> dict[str, Any]:
        """The file's content; empty where there is none.

        Raises:
            ConfigError: it is no ledger.
        """
        if not self.path.is_file():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            [_row(job) for job in found["jobs"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ConfigError(
                f"'{self.path}' is no list of a sweep's jobs ({type(error).__name__}: {error}): put it back from a "
                "copy, or choose another sweep directory."
            ) from None
        return dict(found)

    def rows(self) -> list[Row]:
        """All jobs, in the order of their numbers."""
        return sorted((_row(job) for job in self.read().get("jobs", ())), key=lambda row: row.num)

    def row(self, directory: str) -> Row | None:
        """The job of a run directory."""
        return next((row for row in self.rows() if row.dir == directory), None)

    def begin(
        self,
        requests: Sequence[Request],
        constant: Sequence[str] = (),
        *,
        retry: bool = False,
        stale: str | None = None,
    ) -> Start:
        """Find the jobs that are there already, give numbers to the others, and note that they were asked for.

        Args:
            requests: one a job.
            constant: keys that need not stand in the names of new directories.
            retry: repeat what failed.
            stale: what becomes of runs of other code: ``keep`` or ``repeat``.

        Raises:
            ConfigError: there are runs of other code, and ``stale`` does not say what becomes of them.
        """
        make_directory(self.directory)
        for request in requests:  # reading data takes long, and others wait for the lock
            if any(self._data(row) for row in self.rows() if row.asked == request.asked):
                request.data()
        with locked(self.directory):
            rows = self.rows()
            found: dict[Row, State] = {}
            outdated: list[Row] = []
            for request in requests:
                row = self._known(request, rows, stale, outdated)
                if row is None:
                    row = _next(rows, request, constant)
                    rows.append(row)
                found[row] = self._state(row, retry)
            if outdated:
                raise _of_other_code(outdated)
            start = Start(f"{manifest.now()}-{uuid4().hex[:8]}", tuple(found.items()))
            self._write(rows, start)
        return start

    def add(
        self, request: Request, *, constant: Sequence[str] = (), name: str | None = None, trial: int | None = None
    ) -> Row:
        """A further job, of a search: it gets the next number, and the directory ``name`` if that is given."""
        make_directory(self.directory)
        with locked(self.directory):
            rows = self.rows()
            row = _next(rows, request, constant, name, trial)
            self._write([*rows, row])
        return row

    def done(self, request: Request) -> Row | None:
        """A finished job of the same request and code."""
        row = self._known(request, self.rows(), "repeat", [])
        return row if row is not None and self.status(row) == "finished" else None

    def todo(self, start: str) -> list[Row]:
        """The jobs that a start has to run."""
        entries: Iterable[Mapping[str, Any]] = self.read().get("starts", ())
        numbers = {num for entry in entries if entry["id"] == start for num in entry["todo"]}
        return [row for row in self.rows() if row.num in numbers]

    def status(self, row: Row) -> Status:
        """How far a job is."""
        return load_status(self.directory / row.dir)

    def _write(self, rows: Sequence[Row], start: Start | None = None) -> None:
        """Replace the file; where the disk is full the old one stays."""
        before = self.read()
        starts = list(before.get("starts", ()))
        if start is not None:
            todo = [row.num for row in start.todo]
            starts.append({"id": start.id, "command": manifest.COMMAND, "process": _process(), "todo": todo})
        jobs = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
        facts = {"started": before.get("started", manifest.now()), "command": before.get("command", manifest.COMMAND)}
        write_atomically(self.path, json.dumps(facts | {"jobs": jobs, "starts": starts}, indent=2) + "\n")

    def _known(self, request: Request, rows: Sequence[Row], stale: str | None, outdated: list[Row]) -> Row | None:
        """Of the jobs of the same request and data the one that is furthest, the newest of equals; one of other code
        only where there is none of this, and as ``stale`` says."""
        same = [row for row in rows if row.asked == request.asked and self._same_data(row, request)]
        by_progress = sorted(same, key=lambda row: (PROGRESS.index(self.status(row)), -row.num))
        if ours := next((row for row in by_progress if not self.is_stale(row)), None):
            return ours
        if not by_progress or stale == "repeat":
            return None
        if stale is None:
            outdated.append(by_progress[0])
        return by_progress[0]

    def is_stale(self, row: Row) -> bool:
        """Whether other code than this has trained a job. One that failed is not asked: a repetition is to mend it."""
        if self.status(row) not in ("finished", "interrupted", "pruned"):
            return False
        return self._manifest(row).get("code") != code_digest()

    def _same_data(self, row: Row, request: Request) -> bool:
        then = self._data(row)
        now = request.data() if then else {}
        return all(now[split] == then[split] for split in now if split in then)

    def _data(self, row: Row) -> Mapping[str, str]:
        return self._manifest(row).get("data") or {}

    def _manifest(self, row: Row) -> dict[str, Any]:
        with suppress(ValueError):
            return manifest.read(self.directory / row.dir)
        return {}

    def _state(self, row: Row, retry: bool) -> State:
        status = self.status(row)
        if status in ("finished", "pruned"):
            return "kept"
        if status == "failed":
            return "retried" if retry else "failed"
        return "new" if status == "pending" else "resumed"


@contextmanager
def claimed(run: Path) -> Iterator[bool]:
    """Have a job for this process alone, until the block ends or the process dies; yields whether it is ours.

    On several machines this holds where their file system passes on POSIX record locks (NFS and Lustre with locks on).
    """
    make_directory(run)
    claim = in_use(run, CLAIM)
    try:
        claim.__enter__()
    except ValueError:
        yield False
        return
    try:
        yield True
    finally:
        claim.__exit__(None, None, None)


def _row(job: Mapping[str, Any]) -> Row:
    name = str(job["dir"])
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"'{name}' is no directory of this sweep")
    return Row(int(job["num"]), name, tuple(job.get("overrides", ())), job.get("asked"), job.get("trial"))


def _next(
    rows: Sequence[Row], request: Request, constant: Sequence[str], name: str | None = None, trial: int | None = None
) -> Row:
    num = max((row.num for row in rows), default=-1) + 1
    return Row(num, name or f"{num}_{job_name(request.overrides, constant)}", request.overrides, request.asked, trial)


def _of_other_code(rows: Sequence[Row]) -> ConfigError:
    named = ", ".join(row.dir for row in rows[:4]) + (", …" if len(rows) > 4 else "")
    return ConfigError(
        f"{len(rows)} of these jobs were trained by other code than this ({named}): their numbers need not compare. "
        "sweep.stale=keep uses them as they are, sweep.stale=repeat trains them again under new numbers."
    )


def _process() -> str:
    return f"{os.getpid()} on {os.uname().nodename}"
