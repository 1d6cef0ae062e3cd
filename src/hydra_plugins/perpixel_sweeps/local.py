"""``hydra/launcher=local``: the jobs of a sweep as processes on this machine's cores or GPUs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

if TYPE_CHECKING:
    from perpixel.sweeps.pool import Outcome, Work


class LocalLauncher(Launcher):
    """Several jobs at a time, each in a process forked from this one.

    Args:
        n_jobs: how many; None for one a GPU (or ``trainer.devices`` GPUs), on CPUs one a core up to four.
    """

    def __init__(self, n_jobs: int | None = None) -> None:
        if n_jobs is not None and n_jobs < 1:
            raise ValueError(f"hydra.launcher.n_jobs={n_jobs}: give 1 or more, or null.")
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs; what each returned, in their order, NaN for one whose process died."""
        waiting = [self.work(overrides, initial_job_idx + place) for place, overrides in enumerate(job_overrides)]
        order = list(waiting)
        ended: dict[int, Outcome] = {}
        self.stream(
            lambda: waiting.pop(0) if waiting else None,
            lambda work, outcome: ended.update({id(work): outcome}),
            len(order),
            [one for overrides in job_overrides for one in overrides],
        )
        return [_returned(ended[id(work)].score) for work in order]

    def stream(
        self,
        next_work: Callable[[], Work | None],
        ended: Callable[[Work, Outcome], None],
        total: int | None,
        overrides: Sequence[str] = (),
    ) -> None:
        """Run jobs that are chosen one by one, as slots become free.

        Args:
            next_work: see ``perpixel.sweeps.pool.run_all``.
            ended: is handed each job's outcome.
            total: how many there will be.
            overrides: of the jobs, as far as they are known: a sweep over ``trainer.devices`` needs slots for the most.
        """
        from perpixel.sweeps.pool import aside, run_all
        from perpixel.sweeps.score import direction
        from perpixel.sweeps.table import Table
        from perpixel.workflows.job import write_results

        slots, sweep = self.slots(total, overrides), Path(self.config.hydra.sweep.dir)

        def end(work: Work, outcome: Outcome) -> None:
            if outcome.died:  # it could write no report
                aside(lambda: write_results(sweep))
            ended(work, outcome)

        checkpoint = self.config.training.checkpoint
        with Table(total, len(slots), checkpoint.monitor, direction(self.config)) as table:
            run_all(slots, next_work, end, table)

    def slots(self, total: int | None, overrides: Sequence[str] = ()) -> list[Any]:
        """The machine, shared out."""
        import os

        from perpixel.sweeps.shares import ranks_of, share_out, visible_gpus

        swept = [one.partition("=")[2] for one in overrides if one.startswith("trainer.devices=")]
        ranks = max(ranks_of(devices) for devices in swept or [self.config.trainer.devices])
        gpus = [] if self.config.trainer.accelerator == "cpu" else visible_gpus()
        return share_out(self.n_jobs, total or 1 << 20, ranks, gpus, len(os.sched_getaffinity(0)))

    def work(self, overrides: Sequence[str], number: int) -> Work:
        """A job of its own process."""
        from perpixel.sweeps.pool import Work

        config = self._composed(overrides, number)
        run = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        return Work(run.name, run, lambda: self._run(config))

    def _composed(self, overrides: Sequence[str], number: int) -> DictConfig:
        setup_globals()
        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
            config.trainer.enable_progress_bar = False  # the table shows how far each is
        return config

    def _run(self, config: DictConfig) -> float | None:
        done = run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        found: float | None = done.return_value
        return found


def _returned(score: float | None) -> JobReturn:
    done = JobReturn()
    done.return_value = score if score is None else float(score)
    done.status = JobStatus.COMPLETED
    return done
