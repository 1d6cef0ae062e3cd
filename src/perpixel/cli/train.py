"""``train``: one run, or with ``-m`` a sweep of runs with a leaderboard and a report."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from perpixel.cli.arguments import (
    check_writable,
    checked_jobs,
    constant_keys,
    parse,
    quoted,
    refuse,
    run_hydra,
    shows_only,
    with_texts,
)
from perpixel.config import ConfigError, Job, install, resume_directory, together
from perpixel.config.compose import searches
from perpixel.config.errors import UserFacingError
from perpixel.config.own import located
from perpixel.config.quoting import typed
from perpixel.tracking.runs import SWEEP_FILE
from perpixel.workflows.cluster import inherit, requeue

log = logging.getLogger(__name__)

STOPPED_HERE = ("BasicLauncher", "LocalLauncher")
"""Launchers whose jobs end with this process."""

install()  # at import, because a launcher's workers compose as soon as they have unpickled the task


def main() -> None:
    """Check the whole command line, then train every job of it."""
    args = parse()
    if not shows_only(args) and (run := resume_directory(args.overrides)) is not None:
        return _resume(run, args.overrides, args.multirun)
    jobs = checked_jobs(args, "train")
    if shows_only(args):
        if args.multirun:
            refuse(ConfigError("-m starts a sweep; leave it out to look at one run's configuration."))
        return run_hydra(task, "train")
    jobs = with_texts(args, "train", jobs)
    _check_nodes(jobs)
    if args.multirun:
        return _sweep(jobs)
    check_writable(jobs[0].run_dir)
    return run_hydra(task, "train")


def _resume(run: Path, overrides: Sequence[str], multirun: bool) -> None:
    """Go on with a run in its own directory; Hydra is there for the log only."""
    from perpixel.workflows.job import resume_job

    try:
        if multirun:
            raise ConfigError("resume goes on with one run; -m starts a sweep.")
        start = resume_job(run, overrides)
    except ConfigError as error:
        refuse(error)
    check_writable(run)
    install()
    sys.argv = sys.argv[:1]
    run_hydra(lambda _: _alone(start, run), "train", [f"hydra.run.dir={quoted(run)}"])


def _check_nodes(jobs: Sequence[Job]) -> None:
    """The second half of checking needs the classes themselves, and so torch."""
    from perpixel.workflows.assembly import config_faults

    if faults := [located(fault, job.own) for job in jobs for fault in config_faults(job.cfg)]:
        refuse(together(faults))


def _sweep(jobs: Sequence[Job]) -> None:
    """Train what is left of the jobs that the command line asks for."""
    from perpixel.sweeps.ledger import Ledger
    from perpixel.workflows.sweep import requests

    directory, shared, settings = jobs[0].sweep_dir.resolve(), constant_keys(jobs), jobs[0].cfg.sweep
    check_writable(directory)
    if settings.max_hours and not str(jobs[0].launcher.get("_target_")).endswith(STOPPED_HERE):
        refuse(ConfigError("sweep.max_hours: this launcher has a time limit of its own, hydra.launcher.timeout_min."))
    if searches(jobs[0].sweeper):
        _search(directory, jobs[0])
        return
    try:
        start = Ledger(directory).begin(requests(jobs), shared, retry=settings.retry, stale=settings.stale)
    except ConfigError as error:
        refuse(error)
    print(f"sweep of {len(start.jobs)} runs ({start}): {directory}")
    if start.todo:
        inherit()
        run_hydra(task, "train", [f"hydra.sweep.dir={quoted(directory)}", f"hydra.sweeper.start='{start.id}'"])
    _close_sweep(directory, [row.dir for row, _ in start.jobs])


def _search(directory: Path, first: Job) -> None:
    """Let a sweeper choose the jobs. Only ours can go on with what it began."""
    from perpixel.sweeps.ledger import Ledger

    ledger = Ledger(directory)
    if not str(first.sweeper["_target_"]).endswith("OptunaSweeper") and ledger.path.exists():
        refuse(ConfigError(f"hydra.sweep.dir={directory}: it holds a sweep already; choose another directory."))
    try:
        ledger.begin([])
    except ConfigError as error:
        refuse(error)
    print(f"search: {directory}")
    inherit()
    run_hydra(task, "train", [f"hydra.sweep.dir={quoted(directory)}"])
    _close_sweep(directory, [row.dir for row in ledger.rows()])


def _close_sweep(directory: Path, names: Sequence[str]) -> None:
    from perpixel.tracking.runs import load_sweep
    from perpixel.workflows.job import write_results

    write_results(directory)
    print((directory / "leaderboard.md").read_text(encoding="utf-8"))
    print(f"report: {directory / 'report.html'}")
    ended = {run.directory.name: run.status for run in load_sweep(directory).runs if run.directory.name in names}
    if left := [name for name, status in ended.items() if status not in ("finished", "pruned")]:
        retry = " (with sweep.retry=true what failed, too)" if "failed" in ended.values() else ""
        sys.exit(
            f"perpixel: {len(left)} of the sweep's runs did not finish: {', '.join(left)}. The same command with "
            f"hydra.sweep.dir={directory} or its sweep.name goes on with them{retry}."
        )


def task(cfg: DictConfig) -> float | None:
    """What Hydra calls for each job. In a sweep a failed job is recorded and the next one goes on.

    Returns:
        The monitored score, for whoever searches: NaN of a job that failed, None where another process has it.
    """
    from perpixel.sweeps.score import monitored_score
    from perpixel.training import Interrupted
    from perpixel.workflows.job import run_job, write_results
    from perpixel.workflows.sweep import sweep_job

    context = HydraConfig.get()
    run = Path(context.runtime.output_dir)
    overrides = list(OmegaConf.to_container(context.overrides.task))  # type: ignore[arg-type]
    if context.mode != RunMode.MULTIRUN:
        _alone(partial(run_job, cfg, run, overrides, sweep=None, job=None), run)
        return monitored_score(run)
    sweep = Path(context.sweep.dir).resolve()
    try:
        return sweep_job(cfg, run, overrides, sweep)
    except Interrupted as stop:
        requeue(stop.signum)
        raise
    except Exception as error:
        _tell(error, run)
        return math.nan
    finally:
        write_results(sweep)


def _alone(start: Callable[[], None], run: Path) -> None:
    """A single run, with the report of the sweep that it may belong to."""
    from perpixel.training import Interrupted
    from perpixel.workflows.job import write_results

    try:
        start()
    except Interrupted:
        log.warning("Go on with: %s %s", _program(), typed("resume", str(run)))
        raise
    except Exception as error:
        _tell(error, run)
        sys.exit(1)
    finally:
        write_results(run)
        if (run.parent / SWEEP_FILE).is_file():
            write_results(run.parent)


def _program() -> str:
    """How this command was started: the script of a checkout, or the installed ``perpixel train``."""
    script = Path(sys.argv[0])
    return f"python {script}" if script.suffix == ".py" else f"{script.name}"


def _tell(error: Exception, run: Path) -> None:
    """What explains itself needs its message; anything else its traceback, too. (``error.txt`` holds both.)"""
    told = run / "error.txt"
    where = f" ({told})" if told.is_file() else ""  # on a full disk there is none
    log.error("failed: %s%s", error, where, exc_info=not isinstance(error, ValueError | UserFacingError))
