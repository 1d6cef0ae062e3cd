"""``hydra/sweeper=optuna``: totals, going on, storages shared by several, pruning."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Shell, WarmShell
from tests.skips import skip_or_fail
from tests.sweeps.test_again import LONG, epochs, manifest, rows, runs, wait_for
from tests.sweeps.test_ledger import leave

from perpixel.config import ConfigError, expand
from perpixel.sweeps.ledger import Ledger, Request, Row, claimed
from perpixel.sweeps.pool import Outcome, Work, run_all
from perpixel.sweeps.search import Axis, Search, Settings, axes_of, open_storage, reporter
from perpixel.sweeps.shares import Slot

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

FORK = multiprocessing.get_context("fork")
MIOU = {"val/mIoU": "maximize"}
LR = Axis("optimizer.lr", optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True))


def search(directory: Path, axes: Sequence[Axis] = (LR,), directions: Any = MIOU, **settings: Any) -> Search:
    ledger = Ledger(directory)
    ledger.begin([])
    return Search(ledger, Settings(**settings), axes, [], directions, lambda o: Request(tuple(o), "+".join(o)))


def finish(found: Search, row: Row, miou: float) -> None:
    leave(found.ledger, row, "finished")
    (found.ledger.directory / row.dir / "metrics.json").write_text(f'{{"val": {{"mIoU": {miou}}}}}')
    found.end(row)


class Groups:
    def get_group_options(self, *_: Any, **__: Any) -> list[str]:
        return []


@pytest.mark.parametrize(
    ("typed", "kind", "low", "high"),
    [
        ("a=interval(1,5)", "FloatDistribution", 1.0, 5.0),
        ("a=int(interval(1,5))", "IntDistribution", 1, 5),
        ("a=tag(log,interval(1e-4,1e-1))", "FloatDistribution", 1e-4, 1e-1),
        ("a=range(1,10,3)", "IntDistribution", 1, 7),
    ],
)
def test_hydra_s_grammar_names_the_values(typed: str, kind: str, low: float, high: float) -> None:
    ((axis,), fixed) = axes_of([typed, "b=3"], Groups())
    found: Any = axis.distribution
    assert (type(found).__name__, found.low, found.high) == (kind, low, high)
    assert found.log == ("log" in typed)
    assert fixed == ["b=3"]


@pytest.mark.parametrize(("typed", "texts"), [("a=x,y", ("x", "y")), ("a=choice(1,2)", ("1", "2"))])
def test_choices_are_told_as_they_were_typed(typed: str, texts: tuple[str, ...]) -> None:
    ((axis,), _) = axes_of([typed], Groups())
    assert axis.distribution == optuna.distributions.CategoricalDistribution(texts)


def test_n_trials_is_a_total_and_a_stopped_trial_goes_on(tmp_path: Path) -> None:
    first = search(tmp_path / "s", n_trials=3)
    done, stopped = first.next(), first.next()
    assert done
    assert stopped
    finish(first, done, 0.5)
    leave(first.ledger, stopped, "running")  # the sweep is killed
    again = search(tmp_path / "s", n_trials=3)
    assert again.next() == stopped
    new = again.next()
    assert new
    assert new.trial == 2
    assert again.next() is None
    more = search(tmp_path / "s", n_trials=5)
    assert [row.trial for row in (more.next() for _ in range(9)) if row] == [1, 2, 3, 4]


def test_what_ended_before_the_sweep_could_tell_is_told_later(tmp_path: Path) -> None:
    first = search(tmp_path / "s", n_trials=1)
    row = first.next()
    assert row
    leave(first.ledger, row, "finished")
    (first.ledger.directory / row.dir / "metrics.json").write_text('{"val": {"mIoU": 0.25}}')
    again = search(tmp_path / "s", n_trials=1)
    assert again.next() is None
    assert again.study.best_value == 0.25


def test_values_that_were_tried_are_not_trained_again(tmp_path: Path) -> None:
    only = Axis("loss", optuna.distributions.CategoricalDistribution(["ce"]))
    found = search(tmp_path / "s", [only], n_trials=4)
    row = found.next()
    assert row
    finish(found, row, 0.5)
    assert found.next() is None
    assert [trial.value for trial in found.study.trials] == [0.5] * 4
    assert len(found.ledger.rows()) == 1


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_a_trial_s_values_do_not_depend_on_how_often_the_search_was_started(sampler: str, tmp_path: Path) -> None:
    def values(directory: Path, starts: Sequence[int]) -> list[float]:
        for total in starts:
            found = search(directory, n_trials=total, sampler=sampler, startup_trials=2)
            while (row := found.next()) is not None:
                finish(found, row, 0.1 * (row.trial or 0))
        return [trial.params["optimizer.lr"] for trial in found.study.trials]

    once = values(tmp_path / "once", [4])
    assert values(tmp_path / "twice", [2, 4]) == once
    assert len(set(once)) == 4


def test_failed_and_undefined_trials_do_not_stop_the_search(tmp_path: Path) -> None:
    found = search(tmp_path / "s", n_trials=2)
    for status in ("failed", "finished"):
        row = found.next()
        assert row
        leave(found.ledger, row, status)
        found.end(row)
    assert [trial.state.name for trial in found.study.trials] == ["FAIL", "FAIL"]


def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    ways = {"val/mIoU": "maximize", "parameters": "minimize"}
    found = search(tmp_path / "s", directions=ways, n_trials=2, sampler="nsga2")
    for miou, size in ((0.5, 10), (0.6, 20)):
        row = found.next()
        assert row
        leave(found.ledger, row, "finished", parameters=size)
        (found.ledger.directory / row.dir / "metrics.json").write_text(f'{{"val": {{"mIoU": {miou}}}}}')
        found.end(row)
    assert sorted(trial.values for trial in found.study.best_trials) == [[0.5, 10.0], [0.6, 20.0]]
    with pytest.raises(ConfigError, match="other objectives"):
        search(tmp_path / "s")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"sampler": "tpee"}, "Did you mean 'tpe'"),
        ({"n_trials": 0}, "give 1 or more"),
        ({"objectives": {"test/mIoU": "max"}}, "test scores choose nothing"),
        ({"objectives": {"val/mIoU": "max", "parameters": "min"}, "pruner": "median"}, "with several"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], told: str) -> None:
    (fault,) = Settings(**settings).faults()
    assert told in fault


BASE = ["data=folder", "data.source.root=a", "data.source.classes=[x,y]", "hydra/sweeper=optuna"]


def test_each_value_of_a_search_is_checked_before_it_begins() -> None:
    jobs = expand([*BASE, "optimizer.lr=interval(1e-4,1e-1)", "loss=ce,dice,focal"])
    assert len(jobs) == 4
    with pytest.raises(ConfigError, match="diice"):
        expand([*BASE, "optimizer.lr=interval(1e-4,1e-1)", "loss=ce,diice"])
    with pytest.raises(ConfigError, match="not negative"):
        expand([*BASE, "optimizer.lr=interval(-1,1e-1)"])


def work_on(directory: Path, storage: str | None, total: int) -> None:
    found = search(directory, n_trials=total, storage=storage, sampler="random")
    while (row := found.next()) is not None:
        with claimed(directory / row.dir) as ours:
            if ours and found.ledger.status(row) == "pending":
                finish(found, row, 0.5)


def shared_by_three(directory: Path, storage: str | None) -> None:
    search(directory, n_trials=9, storage=storage)
    workers = [FORK.Process(target=work_on, args=(directory, storage, 9)) for _ in "123"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    study = search(directory, n_trials=9, storage=storage).study
    assert [trial.number for trial in study.trials if trial.state.name == "COMPLETE"] == list(range(9))
    assert sorted(row.trial or 0 for row in Ledger(directory).rows()) == list(range(9))


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_a_file_is_shared_by_several_sweeps(kind: str, tmp_path: Path) -> None:
    shared_by_three(tmp_path / "s", None if kind == "journal" else f"sqlite:///{tmp_path}/study.db")


def hold_the_journal(path: Path, told: Any) -> None:
    storage: Any = open_storage(str(path))
    storage._backend._lock.acquire()
    told.send(True)
    time.sleep(60)


def test_a_killed_writer_leaves_the_journal_usable_at_once(tmp_path: Path) -> None:
    ours, theirs = FORK.Pipe()
    holder = FORK.Process(target=hold_the_journal, args=(tmp_path / "j", theirs))
    holder.start()
    assert ours.recv()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    began = time.monotonic()
    optuna.create_study(storage=open_storage(str(tmp_path / "j")))
    assert time.monotonic() - began < 10


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own on a loopback port."""
    pytest.importorskip("psycopg2")
    debian = map(str, Path("/usr/lib/postgresql").glob("*/bin"))  # not on Debian's PATH
    places = os.pathsep.join([os.environ.get("PATH", ""), *debian])
    initdb, pg_ctl = (shutil.which(name, path=places) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        skip_or_fail("initdb or pg_ctl is missing: apt-get install postgresql")
    home = Path("/tmp" if os.geteuid() == 0 else tmp_path_factory.mktemp("pg")) / f"pg-{os.getpid()}"
    user = {"user": "nobody"} if os.geteuid() == 0 else {}
    home.mkdir()
    if user:
        shutil.chown(home, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    how: Any = {"check": True, "cwd": home, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    try:
        subprocess.run([initdb, "-D", home / "data", "-U", "me", "--auth=trust"], timeout=120, **how)
        subprocess.run([pg_ctl, "-D", home / "data", "-w", "-o", options, "start"], timeout=120, **how)
        yield f"postgresql://me@127.0.0.1:{port}/postgres"
        subprocess.run([pg_ctl, "-D", home / "data", "-m", "immediate", "stop"], timeout=60, **how)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_a_postgresql_server_is_shared_by_several_sweeps(postgres: str, tmp_path: Path) -> None:
    shared_by_three(tmp_path / "s", postgres)


class Idle:
    """Adds up how long the slots stood empty."""

    def started(self, work: Work) -> None: ...
    def ended(self, work: Work, outcome: Outcome) -> None: ...
    def refresh(self, running: Any) -> None: ...


@pytest.mark.slow
def test_trials_of_different_length_leave_the_slots_busy(tmp_path: Path) -> None:
    unit, lengths = 1.5, [4, 1, 1, 1, 1, 4, 1, 1, 1, 1]
    waiting = [
        Work(str(n), tmp_path / str(n), lambda n=length: time.sleep(n * unit) or 0.0)
        for n, length in enumerate(lengths)
    ]
    busy: list[float] = []
    began = time.monotonic()
    run_all([Slot((), 1)] * 2, lambda: waiting.pop(0) if waiting else None, lambda _, o: busy.append(o.seconds), Idle())
    assert sum(busy) >= 0.9 * 2 * (time.monotonic() - began)


OPTUNA = ["-m", "hydra/sweeper=optuna", "sweep.name=mine", "hydra.sweeper.sampler=random"]
AXES = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "loss=ce,dice"]


def test_a_search_is_a_sweep(tiny: list[str], warm_shell: WarmShell) -> None:
    command = [*OPTUNA, *tiny, "training.test=false", *AXES]
    warm_shell.run("train", [*command, "hydra.sweeper.n_trials=1"])
    sweep = warm_shell.directory / "runs" / "sweeps" / "mine"
    first = runs(sweep)
    warm_shell.run("train", [*command, "hydra.sweeper.n_trials=2", "hydra/launcher=local"])
    assert [found["status"] for found in runs(sweep).values()] == ["finished"] * 2
    assert runs(sweep)[next(iter(first))] == next(iter(first.values()))
    assert {row["status"] for row in rows(sweep)} == {"finished"}
    assert {"optimizer.lr", "loss"} <= set(rows(sweep)[0]) | {"loss"}
    study = optuna.load_study(study_name="mine", storage=open_storage(str(sweep / "optuna.journal")))
    scores = [float(row["val mIoU"]) for row in sorted(rows(sweep), key=lambda row: row["run"])]
    assert [trial.value for trial in study.trials] == pytest.approx(scores)


def unbeatable(sweep: Path) -> None:
    """A study in which others were perfect in every epoch."""
    sweep.mkdir(parents=True)
    study = optuna.create_study(
        study_name="mine", storage=open_storage(str(sweep / "optuna.journal")), direction="maximize"
    )
    for _ in range(3):
        values = dict.fromkeys(range(50), 1.0)
        study.add_trial(optuna.create_trial(value=1.0, intermediate_values=values))


def test_a_reporter_says_when_to_stop(tmp_path: Path) -> None:
    unbeatable(tmp_path / "mine")
    found = search(tmp_path / "mine", n_trials=4, pruner="median", startup_trials=1, warmup_epochs=1)
    row = found.next()
    assert row
    report = reporter(tmp_path / "mine" / row.dir)
    assert report
    assert [report(epoch, 0.5) for epoch in range(3)] == [False, True, True]
    assert reporter(tmp_path) is None


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_trial_that_cannot_win_is_pruned_by_all_ranks(ranks: int, tiny: list[str], shell: Shell) -> None:
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    unbeatable(sweep)
    pruner = ["hydra.sweeper.pruner=median", "hydra.sweeper.startup_trials=1", "hydra.sweeper.n_trials=4"]
    ddp = ["trainer=ddp", "trainer.devices=2"] if ranks == 2 else []
    shell.run("train", [*OPTUNA, *ddp, *tiny, *LONG, *pruner, *AXES])
    (run,) = sweep.glob("[0-9]*")
    assert manifest(run)["status"] == "pruned"
    assert epochs(run) == [0, 1]
    assert [row["status"] for row in rows(sweep)] == ["pruned"]
    study = optuna.load_study(study_name="mine", storage=open_storage(str(sweep / "optuna.journal")))
    assert study.trials[-1].state.name == "PRUNED"
    assert list(study.trials[-1].intermediate_values) == [0, 1]


@pytest.mark.slow
def test_a_killed_search_goes_on_with_its_trial(tiny: list[str], shell: Shell) -> None:
    command = [*OPTUNA, *tiny, *LONG, *AXES, "hydra.sweeper.n_trials=2"]
    sweep = shell.directory / "runs" / "sweeps" / "mine"
    process = shell.start("train", command)
    (run,) = wait_for(lambda: [path for path in sweep.glob("0_*") if epochs(path)[1:]], process)
    process.kill()
    process.communicate()
    shell.run("train", command)
    assert [found["status"] for found in runs(sweep).values()] == ["finished"] * 2
    assert epochs(run) == list(range(6))
    assert len(manifest(run)["resumed"]) == 1
