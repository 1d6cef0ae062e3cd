from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from perpixel.training.callbacks import EMA


class Line(pl.LightningModule):
    """A line through points, with a batch norm for its float and integer buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))
        self.seen_in_validation: list[Tensor] = []

    def training_step(self, batch: list[Tensor], _: int) -> Tensor:
        loss: Tensor = (self.net(batch[0]) - batch[1]).square().mean()
        return loss

    def validation_step(self, batch: list[Tensor], _: int) -> None:
        self.seen_in_validation.append(self.net[0].weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def loader() -> DataLoader[tuple[Tensor, ...]]:
    x = torch.linspace(-1, 1, 40).reshape(20, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4)


def fit(
    epochs: int, directory: Path, module: Line, ema: EMA, resume: Path | None = None, **arguments: object
) -> pl.Trainer:
    checkpoint = pl.callbacks.ModelCheckpoint(directory, filename="last", enable_version_counter=False)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[ema, checkpoint],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **arguments,  # type: ignore[arg-type]
    )
    trainer.fit(module, loader(), loader(), ckpt_path=resume, weights_only=True if resume else None)
    return trainer


class Recorder(EMA):
    """Keeps the raw weights after every optimiser step, to average them by hand."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay)
        self.raw: list[Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        if trainer.global_step > self._latest_update_step:
            self.raw.append(pl_module.net[0].weight.detach().clone())
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def by_hand(raw: list[Tensor], decay: float) -> Tensor:
    """torch's AveragedModel takes the first update as it is; then average ← d·average + (1 − d)·raw."""
    average = raw[0]
    for n, weight in enumerate(raw[1:], start=1):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * weight
    return average


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_the_formula_and_validation_and_checkpoint_use_it(tmp_path: Path, accumulate: int) -> None:
    torch.manual_seed(0)
    module, ema = Line(), Recorder(0.9)
    fit(2, tmp_path, module, ema, accumulate_grad_batches=accumulate)
    expected = by_hand(ema.raw, 0.9)
    assert ema.updates == len(ema.raw) == (10 if accumulate == 1 else 6)
    torch.testing.assert_close(module.net[0].weight.detach(), expected)  # training ends with the average in place
    torch.testing.assert_close(module.seen_in_validation[-1], expected)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    torch.testing.assert_close(saved["state_dict"]["net.0.weight"], expected)
    torch.testing.assert_close(saved["current_model_state"]["net.0.weight"], ema.raw[-1])


def test_a_short_run_is_not_an_average_of_its_initial_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, ema = Line(), Recorder(0.9999)
    fit(4, tmp_path, module, ema)
    final = module.net[0].weight.detach()
    assert (final - ema.raw[-1]).norm() < 0.5 * (ema.raw[0] - ema.raw[-1]).norm()


def test_resume_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole, part = Line(), Line()
    part.load_state_dict(whole.state_dict())
    fit(4, tmp_path / "whole", whole, EMA(0.9))
    fit(2, tmp_path / "part", part, EMA(0.9))
    resumed, ema = Line(), EMA(0.9)
    fit(4, tmp_path / "resumed", resumed, ema, resume=tmp_path / "part" / "last.ckpt")
    assert ema.updates == 20
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        EMA(1.0)
