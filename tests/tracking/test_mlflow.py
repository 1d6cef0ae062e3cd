from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from perpixel.tracking.background_tracker import BackgroundTracker
from perpixel.tracking.loggers import RunIdentity
from perpixel.tracking.mlflow import MLflow
from tests.commands import WarmShell

mlflow = pytest.importorskip("mlflow")


def client(store: Path) -> Any:
    return mlflow.MlflowClient(f"sqlite:///{store / 'mlflow.db'}")


def found(store: Path) -> list[Any]:
    known = client(store)
    experiment = known.get_experiment_by_name("perpixel")
    return list(known.search_runs([experiment.experiment_id]))


def test_a_resumed_run_goes_on_as_the_same_one(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for resumed_at, failed in ((None, True), (3, False)):
        tracker = MLflow(store=str(store))
        logger = tracker.start(RunIdentity(tmp_path / "0_job", "0_job", "mine", {"loss": {"smooth": 1}}, resumed_at))
        logger.log_metrics({"val/mIoU": 0.5}, step=resumed_at or 0)
        tracker.finish(failed)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    (run,) = found(store)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"loss.smooth": "1"}
    assert run.data.tags["perpixel.sweep"] == "mine"
    assert len(client(store).get_metric_history(run.info.run_id, "val/mIoU")) == 2


def test_a_sweep_has_one_run_a_job_with_scores_and_pictures(tiny: list[str], warm_shell: WarmShell) -> None:
    warm_shell.run("train", ["-m", *tiny, "logger=mlflow", "hydra/launcher=local", "seed=1,2", "sweep.name=mine"])
    store = warm_shell.directory / "runs" / "mlflow"
    runs = found(store)
    assert [run.info.status for run in runs] == ["FINISHED"] * 2
    assert {run.data.tags["perpixel.sweep"] for run in runs} == {"mine"}
    assert all(0 <= run.data.metrics["val/mIoU"] <= 1 for run in runs)
    files = {item.path for item in client(store).list_artifacts(runs[0].info.run_id, "pictures")}
    assert "pictures/curves.png" in files


def test_a_server_that_is_down_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = BackgroundTracker(MLflow(store=str(tmp_path), tracking_uri="http://127.0.0.1:9", timeout_s=1))
    logger = tracker.start(RunIdentity(tmp_path, "job", None, {}))
    logger.log_metrics({"val/mIoU": 0.5})
    tracker.finish(False)
    assert "cannot be started" in caplog.text
