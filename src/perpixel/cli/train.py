"""``train``: one run, or with ``-m`` a sweep of runs with a leaderboard and a report."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
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
)
from perpixel.config import ConfigError, Job, install, resume_directory, together
from perpixel.config.compose import job_name
from perpixel.config.errors import UserFacingError
from perpixel.tracking.files import write_atomically
from perpixel.tracking.manifest import COMMAND
from perpixel.tracking.runs import SWEEP_FILE
from perpixel.workflows.cluster import inherit, is_done, is_requeued, requeue

log = logging.getLogger(__name__)
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

    if faults := [fault for job in jobs for fault in config_faults(job.cfg)]:
        refuse(together(faults))


def _sweep(jobs: Sequence[Job]) -> None:
    directory, shared = jobs[0].sweep_dir.resolve(), constant_keys(jobs)
    if (directory / SWEEP_FILE).exists():
        refuse(ConfigError(f"hydra.sweep.dir={directory}: it holds a sweep already; choose another directory."))
    check_writable(directory)
    directory.mkdir(parents=True, exist_ok=True)
    told = [_told(job) for job in jobs]
    names = [f"{number}_{job_name(overrides, shared)}" for number, overrides in enumerate(told)]
    plan = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": COMMAND,
        "jobs": [{"num": n, "dir": names[n], "overrides": overrides} for n, overrides in enumerate(told)],
    }
    write_atomically(directory / SWEEP_FILE, json.dumps(plan, indent=2) + "\n")
    print(f"sweep of {len(jobs)} runs: {directory}")
    inherit()
    keys = ",".join(quoted(Path(key)) for key in shared)
    run_hydra(
        task,
        "train",
        [f"hydra.sweep.dir={quoted(directory)}", f"hydra.job.config.override_dirname.exclude_keys=[{keys}]"],
    )
    _close_sweep(directory)


def _told(job: Job) -> list[str]:
    """A job's overrides as Hydra names its directory by them: without its own, and of a repeated key the last value."""
    last = {one.partition("=")[0]: one for one in job.overrides}
    return [one for key, one in last.items() if not key.lstrip("+~").startswith("hydra")]


def _close_sweep(directory: Path) -> None:
    from perpixel.tracking.runs import load_sweep

    print((directory / "leaderboard.md").read_text(encoding="utf-8"))
    print(f"report: {directory / 'report.html'}")
    failed = [run.name for run in load_sweep(directory).runs if run.status != "finished"]
    if failed:
        sys.exit(f"perpixel: {len(failed)} of the sweep's runs did not finish: {', '.join(failed)}")


def task(cfg: DictConfig) -> None:
    """What Hydra calls for each job. In a sweep a failed job is recorded and the next one goes on."""
    from perpixel.training import Interrupted
    from perpixel.workflows.job import run_job, write_results

    context = HydraConfig.get()
    run = Path(context.runtime.output_dir)
    overrides = list(OmegaConf.to_container(context.overrides.task))  # type: ignore[arg-type]
    if context.mode != RunMode.MULTIRUN:
        return _alone(partial(run_job, cfg, run, overrides, sweep=None, job=None), run)
    sweep = Path(context.sweep.dir).resolve()
    log.info("\njob %s: %s", context.job.num, " ".join(overrides))
    try:
        if not is_done(run):
            again = is_requeued(run)
            run_job(cfg, run, [] if again else overrides, sweep=sweep.name, job=int(context.job.num), resume=again)
    except Interrupted as stop:
        requeue(stop.signum)
        raise
    except Exception as error:
        _tell(error, run)
    finally:
        write_results(sweep)
    return None


def _alone(start: Callable[[], None], run: Path) -> None:
    """A single run, with the report of the sweep that it may belong to."""
    from perpixel.workflows.job import write_results

    try:
        start()
    except Exception as error:
        _tell(error, run)
        sys.exit(1)
    finally:
        write_results(run)
        if (run.parent / SWEEP_FILE).is_file():
            write_results(run.parent)


def _tell(error: Exception, run: Path) -> None:
    """What explains itself needs its message; anything else its traceback, too. (``error.txt`` holds both.)"""
    told = run / "error.txt"
    where = f" ({told})" if told.is_file() else ""  # on a full disk there is none
    log.error("failed: %s%s", error, where, exc_info=not isinstance(error, ValueError | UserFacingError))
