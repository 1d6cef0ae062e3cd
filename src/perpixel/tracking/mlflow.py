"""MLflow 3, with a store of its own beside the runs or a server's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perpixel.tracking.connectivity import silence
from perpixel.tracking.files import locked, make_directory
from perpixel.tracking.loggers import RunIdentity, Tracker, identifier, require

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

URI = "MLFLOW_TRACKING_URI"
RUN_TAG, SWEEP_TAG = "perpixel.run", "perpixel.sweep"


class MLflow(Tracker):
    """MLflow (``pip install 'perpixel[mlflow]'``): one run per job, tagged with its sweep; a resumed run goes on.

    Look at a local store with ``mlflow ui --backend-store-uri sqlite:///runs/mlflow/mlflow.db``.

    Args:
        experiment: the MLflow experiment.
        store: directory of the local store (SQLite and files), made where it is missing.
        tracking_uri: a server or database instead; None for the local store, or for ``MLFLOW_TRACKING_URI`` if that is
            set.
        timeout_s: how long a server may take to answer.

    Raises:
        ValueError: a time that is not positive.
    """

    def __init__(
        self,
        experiment: str = "perpixel",
        store: str = "runs/mlflow",
        tracking_uri: str | None = None,
        timeout_s: float = 20.0,
    ) -> None:
        if timeout_s <= 0:
            raise ValueError(f"logger.timeout_s={timeout_s}: give the seconds that may be waited for the server.")
        self.experiment, self.store, self.timeout_s = experiment, Path(store).resolve(), timeout_s
        self.tracking_uri = tracking_uri or os.environ.get(URI)
        self._client: Any = None
        self._run_id = ""

    def start(self, run: RunIdentity) -> Logger:
        require("mlflow")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(round(self.timeout_s)))
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        from lightning.pytorch.loggers import MLFlowLogger
        from mlflow import MlflowClient

        uri = self.tracking_uri or f"sqlite:///{self.store / 'mlflow.db'}"
        if uri.startswith("http") and (reason := silence(uri, self.timeout_s)):
            raise OSError(f"{uri} cannot be used: {reason}")
        make_directory(self.store)
        with locked(self.store):  # jobs at once would each make the tables
            self._client = MlflowClient(uri)
            experiment = self._experiment()
            self._run_id = self._continued(experiment, run) or self._begun(experiment, run)
        self._client.log_dict(self._run_id, dict(run.config), "config.yaml")
        logger = MLFlowLogger(self.experiment, tracking_uri=uri, run_id=self._run_id)
        with _variable_kept(URI):  # MLflow sets it, and the next run of this process would take it for the user's
            logger.experiment  # noqa: B018
        return logger

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        place = None if self.tracking_uri else (self.store / "artifacts").as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=place))

    def _continued(self, experiment: str, run: RunIdentity) -> str | None:
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{identifier(run)}'", max_results=1)
        if run.resumed_at is None or not found:
            return None
        run_id = str(found[0].info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        return run_id

    def _begun(self, experiment: str, run: RunIdentity) -> str:
        tags = {RUN_TAG: identifier(run), **({SWEEP_TAG: run.group} if run.group else {})}
        run_id = str(self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id)
        for key, value in _flat(run.config):
            self._client.log_param(run_id, key, str(value)[:500])
        return run_id

    def pictures(self, pictures: Mapping[str, Path]) -> None:
        for title, path in pictures.items():
            self._client.log_artifact(self._run_id, str(path), f"pictures/{title}".rpartition("/")[0])

    def finish(self, failed: bool) -> None:
        if self._client is not None:
            self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")


@contextmanager
def _variable_kept(name: str) -> Iterator[None]:
    before = os.environ.get(name)
    try:
        yield
    finally:
        os.environ.pop(name, None)
        if before is not None:
            os.environ[name] = before


def _flat(node: Mapping[str, Any], where: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in node.items():
        found += _flat(value, f"{where}{key}.") if isinstance(value, Mapping) else [(f"{where}{key}", value)]
    return found
