from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import perpixel


def test_init_from_takes_what_fits_and_says_what_was_left(
    tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = perpixel.train([*tiny, f"hydra.run.dir={tmp_path / 'first'}"])
    four = [override for override in tiny if not override.startswith("data.source.classes")]
    still = ["optimizer.lr=0.0", "optimizer.weight_decay=0.0", "training.ema_decay=null"]
    with caplog.at_level(logging.INFO):
        second = perpixel.train(
            [*four, "data.source.classes=[ground,square,disc,other]", f"init_from={first.directory}", *still]
        )
    before, after = (load_file(result.directory / "model" / "model.safetensors") for result in (first, second))
    fitting = [name for name in before if before[name].shape == after[name].shape]
    assert all(torch.equal(before[name], after[name]) for name in fitting)
    assert [name for name in before if name not in fitting] == ["head.conv.bias", "head.conv.weight"]
    left = "left as initialised: head.conv.weight, (3, 4, 1, 1) in the file and (4, 4, 1, 1) in the model"
    assert left in caplog.text


def test_init_from_nothing_is_refused(tiny: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no saved model"):
        perpixel.train([*tiny, f"init_from={tmp_path}"])


@pytest.mark.parametrize("rule", ["median_frequency", "effective_number", "inverse_log", "[1.0,2.0,3.0]"])
def test_class_weights_come_from_the_training_split(rule: str, tiny: list[str]) -> None:
    assert perpixel.train([*tiny, "loss=ce", f"loss.class_weights={rule}"]).scores["val"]["mIoU"] is not None
