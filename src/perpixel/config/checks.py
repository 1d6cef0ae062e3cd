"""Rules across keys that can be told from the config alone, before torch is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from perpixel.config.errors import nearest
from perpixel.config.schema import TrainConfig

Fault = str


def check_values(cfg: Any) -> list[Fault]:
    """Faults of a train config's values; each rule is a function below."""
    return [fault for rule in RULES for fault in rule(cfg)]


def _strangers(cfg: Any, schema: Any = TrainConfig, where: str = "") -> Iterator[Fault]:
    """Keys added with ``+`` where the schema is closed: nobody would read them."""
    defaults = schema()
    known = [field.name for field in fields(schema)]
    for key in cfg:
        child = getattr(defaults, key, None) if key in known else None
        if is_dataclass(child):
            yield from _strangers(cfg[key], type(child), f"{where}{key}.")
        elif key not in known and not issubclass(schema, dict):
            yield f"{where}{key}: nothing reads this key.{nearest(where + str(key), (where + name for name in known))}"


def _sizes(cfg: Any) -> Iterator[Fault]:
    size = list(cfg.data.size)
    if len(size) != 2 or min(size) < 1:
        yield f"data.size={size}: give height and width in pixels, as in data.size=[256,256]."
    for key in ("batch_size", "eval_batch_size"):
        if cfg.data[key] < 1:
            yield f"data.{key}={cfg.data[key]}: a batch holds 1 sample or more."
    if cfg.data.num_workers < 0:
        yield f"data.num_workers={cfg.data.num_workers}: give 0 (read in the training process) or more."


def _rates(cfg: Any) -> Iterator[Fault]:
    for key in ("lr", "encoder_lr"):
        value = cfg.optimizer[key]
        if value is not None and value < 0:
            yield f"optimizer.{key}={value}: a learning rate is not negative."
    decay = cfg.training.ema_decay
    if decay is not None and not 0 < decay < 1:
        yield f"training.ema_decay={decay}: the decay lies between 0 and 1 (0.999 is usual); null switches EMA off."


def _devices(cfg: Any) -> Iterator[Fault]:
    trainer = cfg.trainer
    if trainer.sync_batchnorm and trainer.accelerator == "cpu":
        yield (
            "trainer.sync_batchnorm=true with trainer.accelerator=cpu: torch synchronises batch norm on GPUs only. "
            "Leave it out, or choose trainer.accelerator=gpu."
        )
    if trainer.num_nodes != 1:
        yield f"trainer.num_nodes={trainer.num_nodes}: the ranks of one machine are started here; set it to 1."


def _monitor(cfg: Any) -> Iterator[Fault]:
    checkpoint = cfg.training.checkpoint
    if checkpoint.mode not in ("max", "min"):
        yield f"training.checkpoint.mode={checkpoint.mode}: choose max (scores) or min (losses)."
    if not checkpoint.monitor.startswith(("val/", "train/")):
        yield f"training.checkpoint.monitor={checkpoint.monitor}: choose a logged value such as val/mIoU or val/loss."


RULES: tuple[Callable[[Any], Iterator[Fault]], ...] = (_strangers, _sizes, _rates, _devices, _monitor)
