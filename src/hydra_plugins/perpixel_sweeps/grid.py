"""``hydra/sweeper=grid``: the jobs that perpixel found to be done, each in the directory that the ledger gave it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Runs what is left of a grid.

    Args:
        start: the entry of the ledger that lists the jobs; the command line fills it in.
        params: axes besides those of the command line, as ``key: value,value``.
    """

    def __init__(self, start: str | None = None, params: dict[str, str] | None = None) -> None:
        self.start = start
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run the jobs; ``arguments`` were expanded and checked before."""
        from perpixel.sweeps.ledger import Ledger, Row
        from perpixel.sweeps.time_limit import time_limit
        from perpixel.sweeps.work import job_overrides, work_through
        from perpixel.training import Interrupted, handle_signals

        if self.start is None:
            raise ValueError("hydra/sweeper=grid is started by perpixel's train only.")
        ledger = Ledger(Path(self.config.hydra.sweep.dir))
        OmegaConf.save(self.config, ledger.directory / "multirun.yaml")

        def launch(rows: Sequence[Row]) -> Sequence[JobReturn]:
            return self.launcher.launch([job_overrides(row) for row in rows], initial_job_idx=0)

        with handle_signals(), time_limit(self.config.sweep.max_hours) as limit:
            try:
                return work_through(ledger, ledger.todo(self.start), launch)
            except Interrupted:
                if not limit.over:
                    raise
                print(f"sweep.max_hours={self.config.sweep.max_hours} are over; the same command goes on.")
                return []
