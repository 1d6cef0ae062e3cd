"""Faults of one's own files (``--config-dir``) are named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpixel.config import ConfigError, compose, expand

CASES = {
    "key": ("experiment", "# @package _global_\ntrainer:\n  max_epoch: 3\n", 3, "Did you mean 'trainer.max_epochs'"),
    "root key": ("experiment", "# @package _global_\noptimzer: {lr: 1}\n", 2, "Did you mean 'optimizer'"),
    "choice": ("experiment", "# @package _global_\ndefaults:\n  - override /loss: dise\n", 3, "Did you mean 'dice'"),
    "group": ("experiment", "# @package _global_\ndefaults:\n  - override /los: dice\n", 3, "no group 'los'"),
    "override": ("experiment", "# @package _global_\ndefaults:\n  - /loss: ce\n", 3, "write 'override /loss: ce'"),
    "package": ("experiment", "trainer: {max_epochs: 3}\n", 1, "'# @package _global_' is missing"),
    "empty": ("experiment", "", 1, "'# @package _global_' is missing"),
    "syntax": ("experiment", "# @package _global_\ntrainer:\n  max_epochs: 3\n   lr: [1\n", 4, "no YAML"),
    "tab": ("experiment", "# @package _global_\ntrainer:\n\tmax_epochs: 3\n", 3, "no YAML"),
    "twice": ("experiment", "# @package _global_\nseed: 1\nseed: 2\n", 3, "duplicate key seed"),
    "list": ("experiment", "- a\n", 1, "keys with values"),
    "scalar": ("experiment", "# @package _global_\ntrainer: 5\n", 2, "keys with values"),
    "type": ("experiment", "# @package _global_\nseed: soon\n", 2, "could not be converted to Integer"),
    "value": ("experiment", "# @package _global_\ndata:\n  batch_size: 0\n", 3, "1 sample or more"),
    "interpolation": ("experiment", "# @package _global_\nseed: ${nope}\n", 2, "Interpolation key 'nope' not found"),
    "data": ("data", "source: {_target_: perpixel.data.Earth}\nbatch_sze: 3\n", 2, "'data.batch_size'"),
    "trainer": ("trainer", "max_epoch: 3\n", 1, "'trainer.max_epochs'"),
    "target": ("loss", "_target_: os.system\n", 1, "PERPIXEL_PLUGINS"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fault_in_an_own_file_has_its_file_and_line(case: str, tmp_path: Path) -> None:
    group, text, line, told = CASES[case]
    path = tmp_path / group / "mine.yaml"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        compose([f"{group}=mine"], config_dir=str(tmp_path))
    assert f"'{path}', line {line}:" in str(caught.value) or f'"{path}", line {line},' in str(caught.value)
    assert told in str(caught.value)
    assert "no such choice. experiment" not in str(caught.value)


def test_own_choices_are_among_those_offered(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("_target_: perpixel.losses.Dice\nsmooth: 2.0\n")
    assert compose(["loss=mine"], config_dir=str(tmp_path)).cfg.loss.smooth == 2
    with pytest.raises(ConfigError, match="Did you mean 'mine'"):
        compose(["loss=mime"], config_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=r"--config-dir=nowhere: there is no such folder"):
        compose([], config_dir="nowhere")


@pytest.fixture
def axes(tmp_path: Path) -> str:
    (tmp_path / "experiment").mkdir()
    for name, losses in {"axes": "ce,dice", "wrong": "ce,dise"}.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(
            f"# @package _global_\nhydra: {{sweeper: {{params: {{loss: '{losses}', seed: 'range(1,3)'}}}}}}\n"
        )
    return str(tmp_path)


def test_axes_of_an_experiment_are_jobs(axes: str) -> None:
    jobs = expand(["experiment=axes", "seed=7,8"], config_dir=axes)
    assert [job.overrides for job in jobs] == [
        [f"loss={loss}", f"seed={seed}", "experiment=axes"] for loss in ("ce", "dice") for seed in (7, 8)
    ]
    assert [job.cfg.seed for job in expand(["experiment=axes", "loss=ce"], config_dir=axes)] == [1, 2]


def test_a_wrong_choice_of_an_axis_stops_the_sweep(axes: str) -> None:
    with pytest.raises(ConfigError, match=r"loss=dise: there is no such choice\. Did you mean 'dice'"):
        expand(["experiment=wrong"], config_dir=axes)
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.params\.loss=ce,dice: .* not where it is swept"):
        expand(["experiment=axes,wrong"], config_dir=axes)
