"""Every key of Lightning's Trainer, and of what chooses the best weights, acts or is refused with a way out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from perpixel.config import ConfigError, compose
from perpixel.config.checks import check_values
from perpixel.config.monitor import PER_CLASS, SCORES, direction, refuse_unknown_class


@pytest.fixture(scope="module")
def default() -> DictConfig:
    return compose([]).cfg


def faults(default: DictConfig, **values: Any) -> str:
    cfg = copy.deepcopy(default)
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value)
    return "\n".join(check_values(cfg))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("overfit_batches", 1, "data.overfit=<number of samples>, or experiment=overfit_one_batch"),
        ("overfit_batches", 0.5, "experiment=overfit_one_batch"),
        ("barebones", True, "trainer.enable_checkpointing=false"),
        ("log_every_n_steps", 1, "trainer.val_check_interval"),
        ("limit_predict_batches", 2, "training.overlays"),
        ("limit_predict_batches", 0, "training.overlays"),
        ("enable_model_summary", True, "src/shapes.py"),
        ("profiler", "xla", "choose one of simple, advanced, pytorch"),
        ("precision", "64-true", "choose 32-true"),
        ("precision", "64", "choose 32-true"),
        ("precision", "16-true", "choose 16-mixed"),
        ("precision", "bf16-true", "choose bf16-mixed"),
        ("accelerator", "tpu", "choose one of auto, cpu"),
        ("gradient_clip_algorithm", "foo", "choose one of norm, value"),
        ("gradient_clip_algorithm", "value", "clips nothing without trainer.gradient_clip_val"),
        ("gradient_clip_val", -1.0, "give 0 or more"),
        ("deterministic", "wrn", "Did you mean 'warn'?"),
        ("fast_dev_run", "foo", "a number of batches"),
        ("fast_dev_run", -1, "a number of batches"),
        ("max_time", "3h", "as in 00:08:00:00"),
        ("max_steps", 0, "nothing would be trained"),
        ("max_steps", -2, "nothing would be trained"),
        ("accumulate_grad_batches", -1, "nothing would be trained"),
        ("limit_train_batches", -1, "nothing would be trained"),
        ("limit_train_batches", 1.5, "a share of them between 0.0 and 1.0"),
        ("limit_val_batches", -1, "a share of them between 0.0 and 1.0"),
        ("limit_test_batches", 1.5, "a share of them between 0.0 and 1.0"),
        ("val_check_interval", 0, "a share of an epoch (0.5)"),
        ("val_check_interval", 1.5, "a share of an epoch (0.5)"),
        ("check_val_every_n_epoch", 0, "give 1 epoch or more"),
        ("min_epochs", -1, "give 0 or more"),
        ("min_steps", -1, "give 0 or more"),
        ("num_sanity_val_steps", -2, "give -1 or more"),
        ("reload_dataloaders_every_n_epochs", -1, "give 0 or more"),
    ],
)
def test_what_lightning_would_ignore_or_break_on_is_refused(
    key: str, value: object, told: str, default: DictConfig
) -> None:
    found = faults(default, **{f"trainer__{key}": value})
    assert f"trainer.{key}=" in found
    assert told in found


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("precision", "bf16-mixed"), ("precision", None), ("profiler", "simple"), ("deterministic", "warn"),
        ("fast_dev_run", 3), ("max_time", "00:00:10:00"), ("max_steps", 5), ("limit_test_batches", 0),
        ("limit_val_batches", 0.5), ("limit_val_batches", 3), ("val_check_interval", 0.5), ("val_check_interval", 7),
        ("check_val_every_n_epoch", None), ("num_sanity_val_steps", -1), ("log_every_n_steps", None),
    ],
)  # fmt: skip
def test_what_works_is_taken(key: str, value: object, default: DictConfig) -> None:
    assert not faults(default, **{f"trainer__{key}": value})


def test_intervals_across_epochs_are_counted() -> None:
    with pytest.raises(ConfigError, match="counts batches across epochs"):
        compose(["trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=0.5"])


@pytest.mark.parametrize("score", [*SCORES, *(f"{kind}/street" for kind in PER_CLASS)])
def test_the_direction_follows_the_score_and_a_contradiction_is_refused(score: str, default: DictConfig) -> None:
    right, wrong = ("min", "max") if score == "loss" else ("max", "min")
    assert direction(f"val/{score}") == right
    key = {"training__checkpoint__monitor": f"val/{score}"}
    assert not faults(default, **key)
    assert not faults(default, **key, training__checkpoint__mode=right)
    assert "would keep the worst weights" in faults(default, **key, training__checkpoint__mode=wrong)


@pytest.mark.parametrize(
    ("monitor", "told"),
    [
        ("val/los", "Did you mean 'val/loss'?"),
        ("loss", "choose one of val/loss"),
        ("test/mIoU", "choose one of"),
        ("val/mBoundaryIoU", "choose one of"),
        ("val/IoU", "Give val/IoU/<class>, or val/mIoU"),
        ("val/recall/", "Give val/recall/<class>, or val/mRecall"),
    ],
)
def test_a_score_that_no_validation_gives_is_refused(monitor: str, told: str, default: DictConfig) -> None:
    assert told in faults(default, training__checkpoint__monitor=monitor)


def test_a_class_that_the_data_do_not_have_is_refused() -> None:
    refuse_unknown_class("val/IoU/river/bank", ["river/bank", "sea"])
    refuse_unknown_class("val/mIoU", ["sea"])
    with pytest.raises(ValueError, match=r"no class 'rivr', only river, sea\. Did you mean 'val/IoU/river'"):
        refuse_unknown_class("val/IoU/rivr", ["river", "sea"])


def test_several_choices_of_a_group_are_refused() -> None:
    """Hydra would take the last one."""
    for line, told in {
        "logger=[csv,tensorboard]": "-m logger=csv,tensorboard",
        "loss=[ce,dice]": "loss=ce_dice",
    }.items():
        with pytest.raises(ConfigError, match="takes one choice, not a list") as caught:
            compose([line])
        assert told in str(caught.value)
    compose(["experiment=[scenes,overfit_one_batch]"])  # those are made to be put together
