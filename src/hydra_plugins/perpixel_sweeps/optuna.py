"""``hydra/sweeper=optuna``: a search, one ask and one tell for each slot of the launcher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

if TYPE_CHECKING:
    from perpixel.sweeps.ledger import Request, Row
    from perpixel.sweeps.pool import Outcome, Work
    from perpixel.sweeps.search import Search


class OptunaSweeper(Sweeper):
    """Searches with Optuna.

    Args:
        params: axes besides those of the command line, as ``key: interval(…)``.
        n_jobs: trials at a time, for launchers that take them in batches; ``local`` fills each slot as it becomes free.
        settings: see ``perpixel.sweeps.search.Settings``.
    """

    def __init__(self, params: dict[str, str] | None = None, n_jobs: int = 1, **settings: Any) -> None:
        self.params = params or {}
        self.n_jobs = n_jobs
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run trials until there are as many as asked for."""
        from perpixel.config import together
        from perpixel.sweeps.ledger import Ledger
        from perpixel.sweeps.score import direction
        from perpixel.sweeps.search import Search, Settings, axes_of
        from perpixel.sweeps.time_limit import time_limit
        from perpixel.training import Interrupted, handle_signals

        settings = Settings(**OmegaConf.to_container(OmegaConf.create(self.settings)))  # type: ignore[arg-type]
        if faults := settings.faults():
            raise together(faults)
        ledger = Ledger(Path(self.config.hydra.sweep.dir))
        OmegaConf.save(self.config, ledger.directory / "multirun.yaml")
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        axes, fixed = axes_of(given, self.hydra_context.config_loader)
        ways = {name: f"{way}imize" for name, way in (settings.objectives or {}).items()}
        ways = ways or {self.config.training.checkpoint.monitor: direction(self.config)}
        search = Search(ledger, settings, axes, fixed, ways, self._request)
        with handle_signals(), time_limit(self.config.sweep.max_hours) as limit:
            try:
                self._run(search)
            except Interrupted:
                if not limit.over:
                    raise
                print(f"sweep.max_hours={self.config.sweep.max_hours} are over; the same command goes on.")

    def _run(self, search: Search) -> None:
        from perpixel.sweeps.work import job_overrides

        if hasattr(self.launcher, "stream"):
            given: dict[str, Row] = {}

            def next_work() -> Any:
                if (row := search.next()) is None:
                    return None
                given[row.dir] = row
                return self.launcher.work(job_overrides(row), row.num)

            def ended(work: Work, outcome: Outcome) -> None:
                if outcome.score is not None:  # else another process has it, and tells
                    search.end(given[work.name])

            self.launcher.stream(next_work, ended, search.settings.n_trials)
            return
        while rows := [row for _ in range(self.n_jobs) if (row := search.next()) is not None]:
            done = self.launcher.launch([job_overrides(row) for row in rows], initial_job_idx=rows[0].num)
            for row, found in zip(rows, done, strict=True):
                if found.return_value is not None:
                    search.end(row)

    def _request(self, overrides: Sequence[str]) -> Request:
        from perpixel.sweeps.identity import asked
        from perpixel.sweeps.ledger import Request

        config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            del config["hydra"]
        return Request(tuple(overrides), asked(config))
