"""Rules across keys that can be told from the config alone, before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from perpixel.config.errors import nearest
from perpixel.config.schema import TrainConfig

Fault = str

ON_BAD_FILE = ("error", "skip")


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


# Lightning's names (lightning.pytorch.Trainer, 2.6); a name registered by a plug-in can be told from a slip by its use.
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps", "tpu")
PRECISIONS = ("16-mixed", "bf16-mixed", "32-true", "64-true", "16-true", "bf16-true", "16", "32", "64", "bf16")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
SCORES = ("loss", "mIoU", "fwIoU", "mDice", "mPrecision", "mRecall", "pixel_accuracy", "mean_accuracy", "kappa")
PER_CLASS = ("IoU", "Dice", "precision", "recall")


def _names(cfg: Any) -> Iterator[Fault]:
    choices = {"accelerator": ACCELERATORS, "precision": (*PRECISIONS, None), "strategy": STRATEGIES}
    for key, valid in choices.items():
        value, named = cfg.trainer[key], [name for name in valid if name]
        if value not in valid:
            yield f"trainer.{key}={value}: choose one of {', '.join(named)}.{nearest(str(value), named)}"
    if (given := cfg.data.on_bad_file) not in ON_BAD_FILE:
        yield f"data.on_bad_file={given}: choose one of {', '.join(ON_BAD_FILE)}.{nearest(given, ON_BAD_FILE)}"


def _counts(cfg: Any) -> Iterator[Fault]:
    trainer = cfg.trainer
    for key in ("accumulate_grad_batches", "max_epochs", "limit_train_batches"):
        if trainer[key] is not None and (trainer[key] == 0 or trainer[key] < -1):
            yield f"trainer.{key}={trainer[key]}: with that nothing would be trained; give 1 or more."
    if trainer.limit_val_batches == 0:
        yield "trainer.limit_val_batches=0: best weights are chosen by validation; give 1 or more."
    for key in ("limit", "overfit"):
        if cfg.data[key] is not None and cfg.data[key] < 1:
            yield f"data.{key}={cfg.data[key]}: give 1 sample or more, or null."


def _endless(cfg: Any) -> Iterator[Fault]:
    trainer, schedule = cfg.trainer, str(cfg.scheduler._target_).rpartition(".")[2]
    weights = cfg.loss.get("weights", None)
    moves = schedule != "Constant" or any(not isinstance(weight, int | float) for weight in weights or ())
    if moves and trainer.max_epochs == -1 and trainer.max_steps == -1:
        yield (
            "trainer.max_epochs=-1: a schedule needs to know when the training ends. Set trainer.max_epochs or "
            "trainer.max_steps (trainer.max_time may end it sooner), or take scheduler=constant and fixed loss.weights."
        )


def _devices(cfg: Any) -> Iterator[Fault]:
    trainer = cfg.trainer
    if not _is_device_choice(trainer.devices):
        yield f"trainer.devices={trainer.devices}: give a number of devices, a list of their indices, or auto."
    if trainer.sync_batchnorm and trainer.accelerator == "cpu":
        yield (
            "trainer.sync_batchnorm=true with trainer.accelerator=cpu: torch synchronises batch norm on GPUs only. "
            "Leave it out, or choose trainer.accelerator=gpu."
        )
    if trainer.num_nodes != 1:
        yield f"trainer.num_nodes={trainer.num_nodes}: the ranks of one machine are started here; set it to 1."


def _is_device_choice(devices: Any) -> bool:
    if isinstance(devices, str):
        return devices == "auto" or devices == "-1" or (devices.isdecimal() and int(devices) > 0)
    if isinstance(devices, int):
        return not isinstance(devices, bool) and (devices > 0 or devices == -1)
    return len(devices) > 0 and all(isinstance(index, int) and index >= 0 for index in devices)


def _reliability(cfg: Any) -> Iterator[Fault]:
    training, checkpoint = cfg.training, cfg.training.checkpoint
    if training.on_nan not in ("stop", "rollback"):
        yield f"training.on_nan={training.on_nan}: choose stop or rollback."
    if training.nan_check_steps < 1:
        yield f"training.nan_check_steps={training.nan_check_steps}: give 1 step or more."
    if training.on_nan == "rollback" and (cfg.trainer.enable_checkpointing is False or cfg.trainer.barebones):
        yield "training.on_nan=rollback goes back to a checkpoint, and trainer switches them off: leave them on."
    if checkpoint.keep < 2:
        yield f"training.checkpoint.keep={checkpoint.keep}: keep 2 or more, so that a damaged one has a predecessor."
    for key in ("every_n_steps", "every_minutes"):
        if checkpoint[key] is not None and checkpoint[key] <= 0:
            yield f"training.checkpoint.{key}={checkpoint[key]}: give more than 0, or null."


def _monitor(cfg: Any) -> Iterator[Fault]:
    checkpoint = cfg.training.checkpoint
    if checkpoint.mode not in ("max", "min"):
        yield f"training.checkpoint.mode={checkpoint.mode}: choose max (scores) or min (losses)."
    split, _, score = checkpoint.monitor.partition("/")
    if split != "val" or (score not in SCORES and score.partition("/")[0] not in PER_CLASS):
        named = [f"val/{name}" for name in SCORES]
        yield (
            f"training.checkpoint.monitor={checkpoint.monitor}: choose one of {', '.join(named)}, or "
            f"val/IoU/<class> and its kin.{nearest(checkpoint.monitor, named)}"
        )


def _evaluation(cfg: Any) -> Iterator[Fault]:
    least = {"dilation_ratio": 0, "boundary_tolerance": 0, "thin_width": 2, "small_area": 2, "calibration_bins": 1}
    for key, floor in least.items():
        if cfg.evaluation[key] < floor:
            yield f"evaluation.{key}={cfg.evaluation[key]}: give {floor} or more."


STALE = ("keep", "repeat", None)


def _sweep(cfg: Any) -> Iterator[Fault]:
    sweep = cfg.sweep
    if sweep.name is not None and not re.fullmatch(r"\w[\w.+-]{0,99}", sweep.name):
        yield f"sweep.name={sweep.name}: it names a directory; use letters, digits and _.+-"
    if sweep.stale not in STALE:
        yield f"sweep.stale={sweep.stale}: choose keep or repeat.{nearest(sweep.stale, ('keep', 'repeat'))}"
    if sweep.max_hours is not None and not sweep.max_hours > 0:
        yield f"sweep.max_hours={sweep.max_hours}: give more than 0, or null."


RULES: tuple[Callable[[Any], Iterator[Fault]], ...] = (
    _strangers,
    _sizes,
    _counts,
    _endless,
    _rates,
    _names,
    _devices,
    _reliability,
    _monitor,
    _evaluation,
    _sweep,
)
