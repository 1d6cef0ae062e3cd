from __future__ import annotations

import pytest

import perpixel


@pytest.mark.slow
def test_one_batch_is_learnt_by_heart(tiny: list[str]) -> None:
    """The sanity check must reach what it promises: mIoU near 1 on the batch it trained on."""
    plain = [override for override in tiny if not override.startswith(("trainer.max_epochs", "model.width"))]
    wide = ["experiment=overfit_one_batch", "model.width=16", "model.batch_norm=true", "data.size=[32,48]"]
    result = perpixel.train([*plain, *wide])
    assert set(result.scores) == {"val"}
    assert (result.scores["val"]["mIoU"] or 0.0) > 0.97
