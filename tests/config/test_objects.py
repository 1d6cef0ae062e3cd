from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from torch import nn

from perpixel.config import ConfigError, build, faults
from perpixel.losses import Dice, Loss, Sum
from perpixel.optim import OptimizerFactory

DICE = {"_target_": "perpixel.losses.Dice"}


def test_a_node_becomes_its_object_and_nested_nodes_first() -> None:
    node = OmegaConf.create({"_target_": "perpixel.losses.Sum", "losses": [DICE], "weights": [1.0]})
    made = build(node, Loss, "loss", ignore_index=9)
    assert isinstance(made, Sum)
    assert [type(part) for part in made.losses] == [Dice]
    assert made.losses[0].ignore_index == 9


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.open", "shutil.copyfile", "logging.os.system", "subprocess.Popen", "perpixel_evil.Loss"],
)
def test_foreign_packages_are_refused_before_they_are_imported(target: str) -> None:
    with pytest.raises(ConfigError, match=f"loss._target_={target}: package .* is not admitted"):
        build({"_target_": target}, Loss, "loss")


@pytest.mark.parametrize(
    "target",
    ["torch.load", "torch.hub.load", "albumentations.load", "perpixel.config.objects.os.system", "torch.nn.Conv2d"],
)
def test_an_admitted_package_does_not_admit_everything_in_it(target: str) -> None:
    with pytest.raises(ConfigError, match=r"takes a subclass of perpixel\.losses\.base\.Loss"):
        build({"_target_": target}, Loss, "loss")


def test_nothing_of_a_refused_node_runs(tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    node = {"_target_": "os.system", "command": f"touch {sentinel}"}
    for payload in (node, {"_target_": "perpixel.losses.Sum", "losses": [node], "weights": [1.0]}):
        with pytest.raises(ConfigError):
            build(payload, Loss, "loss")
    assert not sentinel.exists()


def test_a_base_class_is_not_a_member() -> None:
    with pytest.raises(ConfigError, match="this is a base class"):
        build({"_target_": "perpixel.optim.OptimizerFactory", "lr": 1.0}, OptimizerFactory, "optimizer")


def test_misspelt_targets_get_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"has no 'Dise'\. Did you mean 'Dice'\?"):
        build({"_target_": "perpixel.losses.Dise"}, Loss, "loss")


def test_arguments_are_held_against_the_signature_all_together() -> None:
    node = {"_target_": "perpixel.optim.AdamW", "lr": "fast", "weight_decai": 0.1, "betas": [0.9]}
    told = faults(node, OptimizerFactory, "optimizer")
    assert len(told) == 3
    assert "Did you mean 'weight_decay'?" in told[0]
    assert any("optimizer.lr='fast': AdamW takes float here" in fault for fault in told)
    assert any("optimizer.betas=[0.9]" in fault for fault in told)
    assert "needs this argument" in faults({"_target_": "perpixel.optim.AdamW"}, OptimizerFactory, "optimizer")[0]


def test_what_perpixel_passes_cannot_be_set() -> None:
    told = faults(DICE | {"ignore_index": 3}, Loss, "loss", given=("ignore_index",))
    assert told == ["loss.ignore_index: perpixel sets this argument itself; leave it out."]


def test_plugins_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mylab.py").write_text("from perpixel.losses import Dice\nclass Mine(Dice):\n    '''Mine.'''\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="PERPIXEL_PLUGINS=mylab"):
        build({"_target_": "mylab.Mine"}, nn.Module, "loss")
    monkeypatch.setattr("perpixel.config.objects.PLUGINS", frozenset({"mylab"}))
    assert type(build({"_target_": "mylab.Mine"}, Loss, "loss")).__name__ == "Mine"


def test_a_plain_value_is_no_object_of_ours() -> None:
    told = faults({"_target_": "perpixel.losses.Sum", "losses": ["ce", DICE], "weights": [1.0, 1.0]}, Loss, "loss")
    assert len(told) == 1
    assert "loss.losses=['ce', " in told[0]
    assert "Write an object as {_target_: <its class>" in told[0]
