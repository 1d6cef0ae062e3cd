"""Rules across keys that can be told from the config alone, before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import OmegaConf

from perpixel.config.errors import nearest
from perpixel.config.monitor import monitor_faults
from perpixel.config.ranges import normalisation_faults
from perpixel.config.schema import TrainConfig
from perpixel.config.short import is_size

Fault = str

ON_BAD_FILE = ("error", "skip")
MOST_STAGES = 5
OF_8_BITS = {
    *(f"perpixel.data.{name}" for name in ("ADE20K", "Cityscapes", "COCOStuff", "Earth", "VOC")),
    "perpixel_scenes.Scenes",
}
"""Data sets whose images hold 8 bits, so that no mean or deviation lies beyond full scale."""


def check_values(cfg: Any) -> list[Fault]:
    """Faults of a train config's values; each rule is a function below."""
    return [fault for rule in RULES for fault in rule(cfg)]


def strangers(cfg: Any, schema: Any = TrainConfig, where: str = "") -> Iterator[Fault]:
    """Keys where the schema is closed (added with ``+``, or of a file): nobody would read them."""
    if not isinstance(cfg, Mapping):
        yield f"{where.rstrip('.')}={cfg}: keys with values belong here."
        return
    defaults = schema()
    known = [field.name for field in fields(schema)]
    for key in cfg:
        child = getattr(defaults, key, None) if key in known else None
        if is_dataclass(child):
            yield from strangers(cfg[key], type(child), f"{where}{key}.")
        elif key not in known and not issubclass(schema, dict):
            yield f"{where}{key}: nothing reads this key.{nearest(where + str(key), (where + name for name in known))}"


def _sizes(cfg: Any) -> Iterator[Fault]:
    if cfg.data.size is not None and not is_size(cfg.data.size):
        yield (
            f"data.size={cfg.data.size}: give height and width in pixels, as in data.size=[256,192], or one number for "
            "both."
        )
    for key in ("batch_size", "eval_batch_size"):
        if cfg.data[key] is not None and cfg.data[key] < 1:
            yield f"data.{key}={cfg.data[key]}: a batch holds 1 sample or more."
    if cfg.data.repeat is not None and cfg.data.repeat < 1:
        yield f"data.repeat={cfg.data.repeat}: an epoch shows each image once or more often."
    if cfg.data.num_workers < 0:
        yield f"data.num_workers={cfg.data.num_workers}: give 0 (read in the training process) or more."


def _normalisation(cfg: Any) -> Iterator[Fault]:
    own = cfg.data.source if "source" in cfg.data else {}
    in_full_scale = str(own.get("_target_", "")) in OF_8_BITS
    yield from normalisation_faults("data", cfg.data.mean, cfg.data.std, in_full_scale=in_full_scale)
    given = {name: own.get(name) for name in ("mean", "std")}
    if all(value is None or OmegaConf.is_list(value) for value in given.values()):
        yield from normalisation_faults("data.source", given["mean"], given["std"], in_full_scale=in_full_scale)


def _decoder(cfg: Any) -> Iterator[Fault]:
    """A decoder block for each encoder stage, and channels for each block."""
    model = cfg.model
    depth, channels = model.get("depth"), model.get("channels")
    if not str(model.get("_target_")).startswith("perpixel.models.") or not isinstance(depth, int):
        return
    if not 1 <= depth <= MOST_STAGES:
        yield f"model.depth={depth}: an encoder has {MOST_STAGES} stages; choose 3, 4 or {MOST_STAGES}."
    elif OmegaConf.is_list(channels) and len(channels) != depth:
        listed = list(channels)
        last = listed[-1] if listed else 16
        fitting = listed[-depth:] if len(listed) > depth else [last * 2**block for block in reversed(range(depth))]
        yield (
            f"model.depth={depth} needs {depth} model.channels, of the decoder's blocks from coarse to fine, and "
            f"{len(listed)} are given: model.depth={depth} model.channels={_listed(fitting)}"
            + (f", or model.depth={len(listed)} for these." if 1 <= len(listed) <= MOST_STAGES else ".")
        )


def _listed(values: Sequence[Any]) -> str:
    return f"[{','.join(map(str, values))}]"


def _rates(cfg: Any) -> Iterator[Fault]:
    for key in ("lr", "encoder_lr"):
        value = cfg.optimizer[key]
        if value is not None and value < 0:
            yield f"optimizer.{key}={value}: a learning rate is not negative."
    decay = cfg.training.ema_decay
    if decay is not None and not 0 < decay < 1:
        yield f"training.ema_decay={decay}: the decay lies between 0 and 1 (0.999 is usual); null switches EMA off."


# Lightning's names (lightning.pytorch.Trainer, 2.6); a name registered by a plug-in can be told from a slip by its use.
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")
PRECISIONS = ("16-mixed", "bf16-mixed", "32-true", "16", "32", "bf16")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
PROFILERS = ("simple", "advanced", "pytorch")
CLIPPINGS = ("norm", "value")
IDLE = {
    "overfit_batches": "take data.overfit=<number of samples>, or experiment=overfit_one_batch: they train on and "
    "score the same samples",
    "barebones": "it measures Lightning's bare loop and takes away what a run consists of. To save time take "
    "trainer.enable_progress_bar=false, trainer.enable_checkpointing=false, training.overlays=0",
    "log_every_n_steps": "losses are logged as means over an epoch. For more lines take trainer.val_check_interval, or "
    "shorter epochs (trainer.limit_train_batches)",
    "limit_predict_batches": "a training predicts nothing. What is scored is limited by trainer.limit_val_batches and "
    "trainer.limit_test_batches, what is drawn by training.overlays",
    "enable_model_summary": "take python src/shapes.py with the same model=, encoder= and decoder=",
}
"""Arguments of Lightning's Trainer that have no use here, and what to use."""

UNMIXED = ("64-true", "64", "16-true", "bf16-true")


def _names(cfg: Any) -> Iterator[Fault]:
    choices = {
        "accelerator": ACCELERATORS,
        "precision": (*PRECISIONS, None),
        "strategy": STRATEGIES,
        "profiler": (*PROFILERS, None),
        "gradient_clip_algorithm": (*CLIPPINGS, None),
        "deterministic": (True, False, "warn", None),
    }
    for key, valid in choices.items():
        value, named = cfg.trainer[key], [str(name).lower() for name in valid if name is not None]
        if key == "precision" and value in UNMIXED:
            yield f"trainer.precision={value}: {_why_not(value)}"
        elif value not in valid:
            yield f"trainer.{key}={value}: choose one of {', '.join(named)}.{nearest(str(value), named)}"
    if (given := cfg.data.on_bad_file) not in ON_BAD_FILE:
        yield f"data.on_bad_file={given}: choose one of {', '.join(ON_BAD_FILE)}.{nearest(given, ON_BAD_FILE)}"


def _why_not(precision: str) -> str:
    if precision.startswith("64"):
        return "images are read as float32, so 64 bits add nothing to them; choose 32-true."
    return (
        "an optimiser's small steps, and the average of the weights, are lost in weights of 16 bits; choose "
        f"{precision.removesuffix('-true')}-mixed, which computes in 16 bits and keeps weights of 32."
    )


def _idle(cfg: Any) -> Iterator[Fault]:
    """Arguments of Lightning's that nothing here acts on."""
    untouched = TrainConfig().trainer
    for key, instead in IDLE.items():
        if cfg.trainer[key] not in (None, getattr(untouched, key)):
            yield f"trainer.{key}={cfg.trainer[key]} has no use here: {instead}."
    if cfg.trainer.gradient_clip_algorithm is not None and cfg.trainer.gradient_clip_val is None:
        yield (
            f"trainer.gradient_clip_algorithm={cfg.trainer.gradient_clip_algorithm} clips nothing without "
            "trainer.gradient_clip_val=<most>: give both, or neither."
        )


def _counts(cfg: Any) -> Iterator[Fault]:
    trainer = cfg.trainer
    for key in ("accumulate_grad_batches", "max_epochs", "max_steps", "limit_train_batches"):
        endless = key in ("max_epochs", "max_steps") and trainer[key] == -1
        if trainer[key] is not None and trainer[key] <= 0 and not endless:
            yield f"trainer.{key}={trainer[key]}: with that nothing would be trained; give 1 or more."
    if trainer.limit_val_batches == 0:
        yield "trainer.limit_val_batches=0: best weights are chosen by validation; give 1 or more."
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if (limit := trainer[key]) is not None and (limit < 0 or (limit > 1 and limit % 1)):
            yield f"trainer.{key}={limit}: give a number of batches, or a share of them between 0.0 and 1.0."
    yield from _least(trainer, {"min_epochs": 0, "min_steps": 0, "reload_dataloaders_every_n_epochs": 0})
    yield from _least(trainer, {"num_sanity_val_steps": -1, "gradient_clip_val": 0})
    for least, most in (("min_epochs", "max_epochs"), ("min_steps", "max_steps")):
        if trainer[least] is not None and trainer[most] not in (None, -1) and trainer[least] > trainer[most]:
            yield f"trainer.{least}={trainer[least]} is more than trainer.{most}={trainer[most]}."
    dev = trainer.fast_dev_run
    if not isinstance(dev, bool) and (not isinstance(dev, int) or dev < 0):
        yield f"trainer.fast_dev_run={dev}: give true, false or a number of batches."
    if trainer.max_time is not None and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", trainer.max_time):
        yield f"trainer.max_time={trainer.max_time}: give days:hours:minutes:seconds, as in 00:08:00:00."
    for key in ("limit", "overfit"):
        if cfg.data[key] is not None and cfg.data[key] < 1:
            yield f"data.{key}={cfg.data[key]}: give 1 sample or more, or null."


def _least(trainer: Any, floors: Mapping[str, int]) -> Iterator[Fault]:
    for key, floor in floors.items():
        if trainer[key] is not None and trainer[key] < floor:
            yield f"trainer.{key}={trainer[key]}: give {floor} or more."


def _rhythm(cfg: Any) -> Iterator[Fault]:
    """When a validation takes place."""
    interval, epochs = cfg.trainer.val_check_interval, cfg.trainer.check_val_every_n_epoch
    if interval is not None and (interval <= 0 or (interval > 1 and interval % 1)):
        yield (
            f"trainer.val_check_interval={interval}: give a number of training batches (10), or a share of an epoch "
            "(0.5)."
        )
    if epochs is not None and epochs < 1:
        yield (
            f"trainer.check_val_every_n_epoch={epochs}: give 1 epoch or more, or null with "
            "trainer.val_check_interval=<number of training batches>."
        )
    if epochs is None and isinstance(interval, float):
        yield (
            f"trainer.val_check_interval={interval} with check_val_every_n_epoch=null counts batches across epochs: "
            f"give their number, or trainer.check_val_every_n_epoch=1."
        )


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
    if training.on_nan == "rollback" and cfg.trainer.enable_checkpointing is False:
        yield "training.on_nan=rollback goes back to a checkpoint, and trainer switches them off: leave them on."
    if checkpoint.keep < 2:
        yield f"training.checkpoint.keep={checkpoint.keep}: keep 2 or more, so that a damaged one has a predecessor."
    for key in ("every_n_steps", "every_minutes"):
        if checkpoint[key] is not None and checkpoint[key] <= 0:
            yield f"training.checkpoint.{key}={checkpoint[key]}: give more than 0, or null."


def _monitor(cfg: Any) -> Iterator[Fault]:
    checkpoint, stopping = cfg.training.checkpoint, cfg.training.early_stopping
    yield from monitor_faults(checkpoint.monitor, checkpoint.mode)
    if stopping.patience is not None and stopping.patience < 0:
        yield f"training.early_stopping.patience={stopping.patience}: give 0 validations or more, or null."
    if stopping.min_delta < 0:
        yield f"training.early_stopping.min_delta={stopping.min_delta}: give 0 or more, whatever the score."


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
    strangers,
    _sizes,
    _normalisation,
    _decoder,
    _counts,
    _rhythm,
    _idle,
    _endless,
    _rates,
    _names,
    _devices,
    _reliability,
    _monitor,
    _sweep,
)
