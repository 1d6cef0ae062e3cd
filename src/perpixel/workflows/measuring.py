"""What a step of a training and the scoring of an image take here, measured on the real model and data."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig

from perpixel.data import DataModule, DataSource
from perpixel.training.protocols import logits_and_aux, loss_of
from perpixel.workflows.assembly import (
    build_data,
    build_loss,
    build_model,
    build_optimizer,
    settle,
    settle_normalisation,
    uses_gpu,
)

STEPS, WARM_UP = 5, 2
SECONDS = 20.0
"""So many steps are timed, or as many as fit into the time."""


class Measured(NamedTuple):
    """Seconds.

    Attributes:
        step: of a training step, reading and augmenting its batch included; the median.
        image: of scoring a validation image.
    """

    step: float
    image: float


def measure(cfg: DictConfig, source: DataSource) -> Measured:
    """Train a few steps on a network that is thrown away, and score a few images.

    Args:
        cfg: a composed train config; what it leaves open is settled in it.
        source: its data.
    """
    settle(cfg, source)
    settle_normalisation(cfg, source)
    data = build_data(cfg, source)
    model = build_model(cfg, source.labels.num_classes, source.channels)
    loss, device = build_loss(cfg, source), torch.device("cuda" if uses_gpu(cfg) else "cpu")
    optimizer = build_optimizer(cfg)(model.to(device).to(memory_format=torch.channels_last))
    times: list[float] = []
    began = last = time.perf_counter()
    for batch in data.train_dataloader():
        ready = data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)
        optimizer.zero_grad()
        logits, _ = logits_and_aux(model(ready["image"].contiguous(memory_format=torch.channels_last)))
        loss_of(loss, logits, ready).backward()
        optimizer.step()
        _wait(device)
        times.append(time.perf_counter() - last)
        last = time.perf_counter()
        if len(times) == STEPS + WARM_UP or last - began > SECONDS:
            break
    timed = times[WARM_UP:] or times[-1:]
    return Measured(float(np.median(timed)), _scoring(model, data, device))


def _scoring(model: torch.nn.Module, data: DataModule, device: torch.device) -> float:
    model.eval()
    began, images = time.perf_counter(), 0
    with torch.inference_mode():
        for batch in data.eval_dataloader("val"):
            ready = data.on_after_batch_transfer(data.transfer_batch_to_device(batch, device, 0), 0)
            model(ready["image"])
            _wait(device)
            images += len(ready["mask"])
            if time.perf_counter() - began > SECONDS / 4:
                break
    return (time.perf_counter() - began) / max(images, 1)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
