"""Bayesian and evolutionary search with Optuna: one trial is one job of the ledger, asked for when a slot is free.

The study lies in a journal file in the sweep's directory, in SQLite or in PostgreSQL; several machines may work on it.
``n_trials`` is a total over all starts: a trial that was stopped goes on in its directory, and none is repeated.
"""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from perpixel.config.errors import ConfigError, nearest
from perpixel.sweeps.ledger import Ledger, Request, Row
from perpixel.sweeps.score import objective
from perpixel.tracking.files import is_in_use, locked, make_directory, write_atomically
from perpixel.tracking.runs import load_run

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

TRIAL_FILE = "trial.json"
JOURNAL = "optuna.journal"
SAMPLERS = ("tpe", "cmaes", "nsga2", "random")
PRUNERS = ("none", "median", "hyperband")
OTHER_OBJECTIVES = ("parameters", "seconds", "images_per_second")


@dataclass(frozen=True)
class Settings:
    """How to search.

    Attributes:
        n_trials: in all, those of earlier starts included.
        sampler: one of ``SAMPLERS``.
        pruner: one of ``PRUNERS``.
        seed: of the sampler.
        storage: a URL of SQLAlchemy, or a journal file; None for one in the sweep's directory.
        study: its name; None for the sweep directory's.
        startup_trials: drawn at random before the sampler and the pruner begin to compare.
        warmup_epochs: no trial is pruned before so many.
        objectives: name → ``max`` or ``min``; None for the monitored score.
    """

    n_trials: int = 20
    sampler: str = "tpe"
    pruner: str = "none"
    seed: int = 0
    storage: str | None = None
    study: str | None = None
    startup_trials: int = 10
    warmup_epochs: int = 1
    objectives: Mapping[str, str] | None = None

    def faults(self) -> list[str]:
        """What is wrong with the settings, each with its key."""
        found = []
        if self.n_trials < 1:
            found.append(f"hydra.sweeper.n_trials={self.n_trials}: give 1 or more.")
        for key, value, known in (("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS)):
            if value not in known:
                found.append(f"hydra.sweeper.{key}={value}: choose one of {', '.join(known)}.{nearest(value, known)}")
        for name, way in (self.objectives or {}).items():
            if way not in ("max", "min"):
                found.append(f"hydra.sweeper.objectives.{name}={way}: choose max or min.")
            if not name.startswith("val/") and name not in OTHER_OBJECTIVES:
                found.append(
                    f"hydra.sweeper.objectives.{name}: search by val/<score>, {' or '.join(OTHER_OBJECTIVES)}; test "
                    "scores choose nothing."
                )
        if self.objectives and len(self.objectives) > 1 and (self.pruner != "none" or self.sampler == "cmaes"):
            found.append(
                "hydra.sweeper.objectives: with several, pruner is none and sampler one of tpe, nsga2, random."
            )
        return found


@dataclass(frozen=True)
class Axis:
    """A key that is searched over.

    Attributes:
        key: as in an override.
        distribution: of its values; of a choice their texts.
    """

    key: str
    distribution: BaseDistribution


def axes_of(overrides: Sequence[str], loader: Any) -> tuple[list[Axis], list[str]]:
    """The axes in Hydra's grammar (``choice``, ``range``, ``interval``, ``tag(log, …)``), and the other overrides."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    axes, fixed = [], []
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        if override.is_delete() or not override.is_sweep_override():
            fixed.append(override.input_line or "")
        else:
            axes.append(Axis(override.get_key_element(), _distribution(override)))
    if not axes:
        raise ConfigError(
            "hydra/sweeper=optuna: no key is searched over; give one as optimizer.lr=interval(1e-4,1e-2)."
        )
    return axes, fixed


def _distribution(override: Any) -> BaseDistribution:
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep: Any = override.value()
    if isinstance(sweep, IntervalSweep):
        log = "log" in sweep.tags
        low: Any = sweep.start
        high: Any = sweep.end
        kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
        return kind(low, high, log=log)
    if isinstance(sweep, RangeSweep) and all(isinstance(n, int) for n in (sweep.start, sweep.stop, sweep.step)):
        values = list(range(int(sweep.start or 0), int(sweep.stop or 0), int(sweep.step)))
        if len(values) > 1 and sweep.step > 0:
            return IntDistribution(values[0], values[-1], step=int(sweep.step))
    return CategoricalDistribution(list(override.sweep_string_iterator()))


class Search:
    """Asks for trials and is told how they ended.

    Args:
        ledger: of the sweep.
        settings: how to search.
        axes: over what.
        fixed: overrides that all trials share.
        directions: ``maximize`` or ``minimize`` by objective.
        request: composes a trial's overrides into a job.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        axes: Sequence[Axis],
        fixed: Sequence[str],
        directions: Mapping[str, str],
        request: Callable[[Sequence[str]], Request],
    ) -> None:
        self.ledger, self.settings, self.axes, self.fixed = ledger, settings, axes, fixed
        self.objectives, self.request = list(directions), request
        self.name = settings.study or ledger.directory.name
        self.where = settings.storage or str(ledger.directory / JOURNAL)
        self.study = open_study(self.where, self.name, settings, list(directions.values()))
        self._given: set[int] = set()

    def next(self) -> Row | None:
        """The next trial to run: one that was stopped, else a new one; None where all are given."""
        if (stopped := self._stopped()) is not None:
            return stopped
        while len(self.study.get_trials(deepcopy=False)) < self.settings.n_trials:
            if (row := self._new()) is not None:
                return row
        return None

    def end(self, row: Row) -> None:
        """Tell Optuna what became of a trial; one that was stopped stays open and goes on another time."""
        from optuna.trial import TrialState

        status = self.ledger.status(row)
        if status == "finished":
            self._tell(row.trial, row)
        elif status in ("pruned", "failed"):
            state = TrialState.PRUNED if status == "pruned" else TrialState.FAIL
            self._say(row.trial, state=state)

    def _tell(self, trial: int | None, row: Row) -> None:
        from optuna.trial import TrialState

        run = load_run(self.ledger.directory / row.dir)
        values = [objective(run, name) for name in self.objectives]
        if any(map(math.isnan, values)):
            self._say(trial, state=TrialState.FAIL)
        else:
            self._say(trial, values)

    def _say(self, trial: int | None, values: Sequence[float] | None = None, state: Any = None) -> None:
        """Another sweep that found the same end may say so between our look and our word."""
        from optuna.exceptions import UpdateFinishedTrialError

        assert trial is not None
        with suppress(UpdateFinishedTrialError):
            self.study.tell(trial, values, state=state, skip_if_finished=True)

    def _stopped(self) -> Row | None:
        from optuna.trial import TrialState

        rows = {row.trial: row for row in self.ledger.rows()}
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            row = rows.get(trial.number)
            if row is None or trial.number in self._given or is_in_use(self.ledger.directory / row.dir):
                continue
            if self.ledger.status(row) in ("finished", "pruned", "failed"):  # the sweep died before it could tell
                self.end(row)
                continue
            self._given.add(trial.number)
            return row
        return None

    def _new(self) -> Row | None:
        """A new trial's job; None where one like it is done, or others have taken the last."""
        from optuna.trial import TrialState

        with locked(self.ledger.directory):  # two at once would draw the same numbers
            self.study.sampler = _sampler(self.settings, len(self.study.get_trials(deepcopy=False)))
            trial = self.study.ask({axis.key: axis.distribution for axis in self.axes})
        if trial.number >= self.settings.n_trials:
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        overrides = [*self.fixed, *(f"{axis.key}={_text(trial.params[axis.key])}" for axis in self.axes)]
        request = self.request(overrides)
        if (same := self.ledger.done(request)) is not None:
            self._tell(trial.number, same)
            return None
        row = self.ledger.add(
            request, constant=[one.partition("=")[0].lstrip("+~") for one in self.fixed], trial=trial.number
        )
        self._given.add(trial.number)
        if self.settings.pruner != "none":
            run = self.ledger.directory / row.dir
            make_directory(run)
            found = {"storage": self.where, "study": self.name, "trial": trial.number}
            settings = {"pruner": self.settings.pruner, "startup": self.settings.startup_trials}
            settings["warmup"] = self.settings.warmup_epochs
            write_atomically(run / TRIAL_FILE, json.dumps(found | settings, indent=1) + "\n")
        return row


def open_study(where: str, name: str, settings: Settings, directions: Sequence[str]) -> Study:
    """Create a study, or open it where it exists.

    Raises:
        ConfigError: Optuna is not installed, or the study has other objectives.
    """
    optuna = _optuna()
    storage = open_storage(where)
    study = optuna.create_study(storage=storage, study_name=name, directions=list(directions), load_if_exists=True)
    if [way.name.lower() for way in study.directions] != list(directions):
        raise ConfigError(
            f"the study '{name}' in {where} has other objectives: choose another with hydra.sweeper.study=…"
        )
    return study  # type: ignore[no-any-return]


def open_storage(where: str) -> Any:
    """A database by its URL, or a journal file by its path."""
    optuna = _optuna()
    if "://" in where:
        where = where.replace(
            "postgresql://", "postgresql+psycopg2://", 1
        )  # the default driver changed in SQLAlchemy 2.1
        patience = {"connect_args": {"timeout": 60}} if where.startswith("sqlite") else {}
        return optuna.storages.RDBStorage(where, engine_kwargs=patience)
    from optuna.storages.journal import JournalFileBackend

    lock: Any = _SystemLock(Path(where))  # Optuna's base class would have to be imported at every start
    return optuna.storages.JournalStorage(JournalFileBackend(where, lock_obj=lock))


class _SystemLock:
    """A lock that ends with its holder: Optuna's own would be waited for after a ``kill -9``."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name(f".{journal.name}.lock")
        self.file: TextIO | None = None

    def acquire(self) -> bool:
        self.file = self.path.open("w")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        if self.file is not None:
            self.file.close()


def reporter(run: Path) -> Callable[[int, float], bool] | None:
    """For a trial that may be pruned: a function of (epoch, score) that tells whether to stop; None for other runs."""
    path = run / TRIAL_FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    optuna = _optuna()
    study = optuna.load_study(
        study_name=facts["study"],
        storage=open_storage(facts["storage"]),
        pruner=_pruner(facts["pruner"], facts["startup"], facts["warmup"]),
    )
    (frozen,) = [trial for trial in study.get_trials(deepcopy=False) if trial.number == facts["trial"]]
    trial = optuna.Trial(study, frozen._trial_id)

    def report(epoch: int, score: float) -> bool:
        if epoch not in study.trials[facts["trial"]].intermediate_values:  # of a resumed run
            trial.report(score, epoch)
        return bool(trial.should_prune())

    return report


def _sampler(settings: Settings, number: int) -> Any:
    """Drawn anew for each trial, so that its random numbers depend on seed and number, not on how often the search was
    started and how many work on it.
    """
    samplers, seed, startup = _optuna().samplers, settings.seed + number, settings.startup_trials
    if settings.sampler == "cmaes":
        return samplers.CmaEsSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False)
    if settings.sampler == "nsga2":
        return samplers.NSGAIISampler(seed=seed, population_size=max(2, startup))
    if settings.sampler == "random":
        return samplers.RandomSampler(seed=seed)
    return samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)


def _pruner(name: str, startup: int, warmup: int) -> Any:
    pruners = _optuna().pruners
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=max(1, warmup))
    return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("hydra/sweeper=optuna needs the package optuna: pip install 'perpixel[optuna]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
