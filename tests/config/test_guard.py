from __future__ import annotations

from pathlib import Path

import pytest

from perpixel.config import ConfigError, compose
from perpixel.config.guard import check_hydra


@pytest.mark.parametrize(
    "override",
    [
        "+hydra.callbacks.evil={_target_: os.system, command: 'touch SENTINEL'}",
        "+hydra.callbacks.evil={_target_: perpixel.config.objects.os.system, command: 'touch SENTINEL'}",
        "+hydra.callbacks.evil={_target_: hydra.utils.get_method, path: 'os.system'}",
        "hydra.launcher._target_=subprocess.Popen",
        "hydra.sweeper._target_=builtins.open",
        "+hydra.job_logging.handlers.evil={'()': os.system, command: 'touch SENTINEL'}",
        "+hydra.job_logging.handlers.evil={class: os.system, command: 'touch SENTINEL'}",
        "+hydra.hydra_logging.filters.evil={'()': 'ext://os.system', command: 'touch SENTINEL'}",
        "hydra.job_logging.handlers.console.stream=ext://os.system",
        "hydra.searchpath=[pkg://evil]",
        "+hydra.job.env_set.PERPIXEL_PLUGINS=evil",
        "+hydra.job.env_set.PYTHONPATH=/evil",
        "hydra.callbacks=${oc.create:{x:{_target_:shutil.copyfile,src:/etc/hostname,dst:SENTINEL}}}",
        "hydra.job_logging=${augment}",
        "+hydra.job_logging.filters=${augment.additional_targets}",
        "hydra.job_logging.handlers.console.stream=${output}",
        "hydra.job.env_set=${oc.create:{PERPIXEL_PLUGINS:os}}",
        "hydra.launcher._target_=${output}",
        "loss._target_=os.system",
        "+data.source.more={_target_: shutil.copyfile, src: a, dst: b}",
        "+hydra.job.env_set.GIT_CONFIG_COUNT=1",
        "+hydra.job.env_set.MPLBACKEND=module://evil",
        "+hydra.job.env_set.WANDB_BASE_URL=http://evil",
        "+hydra.job.env_set.CXX=/tmp/evil",
        "hydra.job_logging.handlers.file.filename=/root/.bashrc",
        "hydra.job_logging.handlers.file.filename='${hydra.runtime.output_dir}/../../.bashrc'",
        "hydra.job_logging.handlers.file.filename='${hydra.run.dir}/.profile.log'",
        "hydra.job.name=../../evil",
        "hydra/launcher=slurm hydra.launcher.partition='a\ntouch SENTINEL'",
        "hydra/launcher=slurm +hydra.launcher.setup=[touch SENTINEL]",
        "hydra/launcher=slurm hydra.launcher.additional_parameters={wrap: touch SENTINEL}",
        "output='${oc.env:AWS_SECRET_ACCESS_KEY}'",
        "hydra.run.dir='${oc.env:GITHUB_TOKEN}'",
    ],
)
def test_hostile_configs_are_refused_and_nothing_of_them_runs(
    override: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        compose(_overrides(override.replace("SENTINEL", str(tmp_path / "sentinel"))))
    assert list(tmp_path.iterdir()) == []


def _overrides(text: str) -> list[str]:
    """One override, or a choice of launcher and one of its keys."""
    launcher, space, rest = text.partition(" ")
    return [launcher, rest] if launcher == "hydra/launcher=slurm" and space else [text]


@pytest.mark.parametrize("key", ["loss._target_", "hydra.job.env_set.CXX", "hydra/launcher"])
def test_axes_of_a_sweep_may_not_slip_past_the_guard(key: str) -> None:
    """Hydra's sweeper adds ``hydra.sweeper.params`` to each job's overrides, after they were checked."""
    assert check_hydra({"sweeper": {"params": {key: "evil"}}})
    assert not check_hydra({"sweeper": {"params": {"optimizer.lr": "0.1,0.2"}}})
