"""The LightningModule: it is handed a network, a loss, an optimiser and a schedule, and only connects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import lightning.pytorch as pl
import torch
import torch.distributed
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric

from perpixel.labels import LabelSpace
from perpixel.metrics import PixelMetric, SegmentationMetrics, to_labels
from perpixel.training.protocols import ChangingModel, TrainableLoss, logits_and_aux, loss_of

Batch = Mapping[str, Any]
MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
MakeSchedule = Callable[[torch.optim.Optimizer, int], LRScheduler]


@dataclass(frozen=True)
class Scores:
    """What one evaluation of a split found.

    Attributes:
        values: scores by name; NaN where undefined.
        details: what else the metrics tell, ready for JSON: ``absent`` (classes with neither truth nor prediction, left
            out of the means), ``confusion`` (rows = truth, columns = prediction, pixels), and of ``final_metrics``.
            Where only a part of the split was scored also ``part``: the labelled ``pixels`` that were counted, ``of``
            those there are.
    """

    values: dict[str, float]
    details: dict[str, Any]


class SegmentationModule(pl.LightningModule):
    """Trains and scores a network that gives one logit per class and pixel.

    Batches are mappings with ``image`` (B, C, H, W) float (or ``features``, what a frozen encoder made of it),
    ``mask`` (B, H, W) int64 and, where the data brings weights per pixel, ``weight`` (B, H, W) float.

    Args:
        model: images → logits (B, num_classes, H, W), or, while training, an object with ``logits`` and ``aux``
            (further logits of that shape, whose mean loss is added with weight ``model.aux_weight``).
        loss: (logits, mask[, weight]) → scalar; its ``parts`` and their ``scheduled`` weights are logged one by one.
        labels: of the masks.
        make_optimizer: called with the network; None for a module that only evaluates.
        make_schedule: called with the optimiser and the run's number of optimiser steps.
        compile_model: run the network through ``torch.compile``.
        channels_last: keep network and images in channels-last memory format.
        final_metrics: what is measured beside the confusion matrix when a split is scored for the record; validations
            while training do without.

    Attributes:
        last: what the last evaluation found; None before one.
        for_record: whether an evaluation outside of a training takes ``final_metrics``.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: TrainableLoss,
        labels: LabelSpace,
        make_optimizer: MakeOptimizer | None = None,
        make_schedule: MakeSchedule | None = None,
        compile_model: bool = False,
        channels_last: bool = False,
        final_metrics: Sequence[PixelMetric] = (),
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last) if channels_last else model
        self.loss = loss
        self.val_metrics = SegmentationMetrics(labels)
        self.final_metrics = nn.ModuleList(final_metrics)
        self.val_loss = MeanMetric()
        self.val_parts = nn.ModuleDict({name: MeanMetric() for name in loss.part_names})
        self.channels_last = channels_last
        self._compile = compile_model
        self._make_optimizer = make_optimizer
        self._make_schedule = make_schedule
        self._run: Callable[[Tensor], Any] | None = None
        self.last: Scores | None = None
        self.for_record = True

    def forward(self, image: Tensor) -> Any:
        """The network's output for (B, C, H, W) images."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        image = image.contiguous(memory_format=order)
        if not self._compile:
            return self.model(image)
        if self._run is None:
            # The method, not the module: a compiled module would be a child, and change the keys of checkpoints.
            self._run = torch.compile(self.model.forward)
        return self._run(image)

    def _output(self, batch: Batch) -> Any:
        """The network's, of the images, or of their features where a frozen encoder has seen them before."""
        if "features" not in batch:
            return self(batch["image"])
        model: Any = self.model
        return model.from_features(batch["features"], tuple(batch["mask"].shape[-2:]))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """The ``loss`` of one batch, and under ``logged`` what its epoch means are logged of."""
        self.loss.set_progress(self._progress())
        if isinstance(self.model, ChangingModel):
            self.model.set_progress(self._progress())
        logits, aux = logits_and_aux(self._output(batch))
        loss = self._loss(logits, batch)
        parts = dict(self.loss.parts)
        if aux:
            parts["aux"] = torch.stack([self._loss(one, batch) for one in aux]).mean()
            weight: Any = self.model.aux_weight
            loss = loss + weight * parts["aux"]
        self.log("loss", loss.detach(), prog_bar=True, logger=False, on_step=True, batch_size=len(batch["mask"]))
        logged = {"train/loss": loss.detach()} | {f"train/loss/{name}": part.detach() for name, part in parts.items()}
        scheduled = self.loss.scheduled.items()
        logged |= {f"train/loss_weight/{name}": loss.new_tensor(value) for name, value in scheduled}
        return {"loss": loss, "logged": logged}

    def _loss(self, logits: Any, batch: Batch) -> Tensor:
        return loss_of(self.loss, logits, batch)

    def _progress(self) -> float:
        return self.trainer.global_step / max(self._total_steps(), 1)

    def _total_steps(self) -> int:
        total = self.trainer.estimated_stepping_batches
        return int(total) if total != float("inf") else 0

    def on_validation_epoch_start(self) -> None:
        """Give every rank the batch-norm statistics of rank 0: those are the ones that are saved."""
        if self.trainer.world_size > 1:
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Score one batch; returns its predicted labels (B, H, W) for callbacks that draw."""
        logits = self._output(batch)
        for metric in self._metrics():  # before the loss: they say which sample has an impossible target
            metric.update(logits, batch["mask"], batch.get("name"))
        self.val_loss.update(self._loss(logits, batch), weight=len(batch["mask"]))
        for name, mean in self._val_parts.items():
            mean.update(self.loss.parts[name], weight=len(batch["mask"]))
        return to_labels(logits)

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split, and the loss's parts, summed over ranks."""
        scores = self._finish_scores()
        for name, metric in self._val_parts.items():
            self.log(f"val/loss/{name}", metric.compute())
            metric.reset()
        self.log_dict({f"val/{name}": value for name, value in scores.items()})
        self.log("mIoU", scores["mIoU"], prog_bar=True, logger=False)

    def on_test_epoch_end(self) -> None:
        """Log the scores of the whole split, summed over ranks."""
        self.log_dict({f"test/{name}": value for name, value in self._finish_scores().items()})

    def _finish_scores(self) -> dict[str, Tensor]:
        named = {"loss": self.val_loss.compute()}
        details: dict[str, Any] = {}
        self.val_loss.reset()
        for metric in self._metrics():
            named |= metric.compute()
            details |= metric.details
            metric.reset()
        self.last = Scores({name: float(value) for name, value in named.items()}, details)
        return named

    @property
    def _val_parts(self) -> dict[str, MeanMetric]:
        return cast(dict[str, MeanMetric], dict(self.val_parts.items()))

    def _metrics(self) -> list[PixelMetric]:
        is_plain = self.trainer.state.fn == TrainerFn.FITTING or not self.for_record
        return [self.val_metrics, *([] if is_plain else self.final_metrics)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser, and the schedule stepping once per optimiser step."""
        assert self._make_optimizer is not None, "this module was made to evaluate"
        optimizer = self._make_optimizer(self.model)
        if self._make_schedule is None:
            return optimizer
        schedule = self._make_schedule(optimizer, self._total_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
