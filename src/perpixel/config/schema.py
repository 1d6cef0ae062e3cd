"""The typed keys: what users touch fails at compose when its type is wrong. Nothing here imports torch.

Groups whose members bring arguments of their own (an optimiser's momentum, say) derive from ``Dict[str, Any]``:
OmegaConf then types the common keys and takes the others as the YAML gives them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

# OmegaConf 2.3 warns of Dict subclasses because 2.4 may replace them; pyproject holds it below 2.4 for this reason.
warnings.filterwarnings("ignore", message="Class `.*` subclasses `Dict`", category=UserWarning)


@dataclass
class DataConfig:
    """A data source and how it is loaded."""

    source: Any = MISSING
    policy: str | None = None  # a label policy file: names, colours, rules, merges, what is ignored
    on_bad_file: str = "error"  # error | skip: leave faulty files out, and name them in the manifest
    max_bad: float = 0.01  # greatest share of faulty files that skip tolerates
    size: Any = None  # H, W of a training sample, pixels; 256 is [256, 256]; null: from the images' sizes
    batch_size: int | None = None  # per rank; null: from size and device
    eval_batch_size: int = 8  # per rank
    repeat: int | None = None  # how often an epoch shows each training sample; null: often enough for 20 steps
    views: int | None = None  # so many augmented views of each training sample, in turn; null: new ones in every epoch
    num_workers: int = 0  # per rank
    timeout_s: float | None = 600.0  # a batch that takes longer to read is an error that names the file; null: no limit
    allow_changed: bool = False  # go on with a run although the data are no longer what it was trained with
    mean: list[float] | None = None  # per channel, in units of full scale; null: what the encoder's weights expect,
    std: list[float] | None = None  # else the data's own
    limit: int | None = None  # use only this many training samples
    canary: Any = None  # fixed samples, never trained on and scored after every epoch: how many, their names, or a file
    overfit: int | None = None  # train on and score this many fixed training samples, as a sanity check


@dataclass
class OptimizerConfig(dict[str, Any]):
    """Common to all optimisers; each YAML adds its own."""

    lr: float = MISSING
    encoder_lr: float | None = None  # null: the same as lr
    weight_decay: float = 0.0  # not applied to norms and biases


@dataclass
class SchedulerConfig(dict[str, Any]):
    """Common to all learning-rate schedules; each YAML adds its own."""

    warmup_steps: int = 0  # optimiser steps of linear rise from warmup_start · lr
    warmup_start: float = 0.0


@dataclass
class TrainerConfig:
    """Every argument of Lightning's Trainer that is a plain value, with Lightning's own meaning and defaults.

    The last five are refused unless they are left as they are, with what to use (``config.checks``).

    Left out because perpixel sets them: ``logger`` and ``callbacks`` (from ``logger=`` and ``training``),
    ``default_root_dir`` (the run directory), ``use_distributed_sampler`` (the data module shards by itself), and the
    object-valued ``plugins``, ``model_registry`` and ``enable_autolog_hparams``.
    """

    accelerator: str = "auto"
    strategy: str = "auto"
    devices: Any = "auto"  # a count, a list of indices, or "auto"
    num_nodes: int = 1
    precision: str | None = None
    fast_dev_run: Any = False  # true, false or a number of batches
    max_epochs: int | None = None  # null: 11, or more where that is fewer than 500 steps
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: str | None = None  # DD:HH:MM:SS
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    limit_test_batches: int | float | None = None
    val_check_interval: int | float | None = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = 0
    enable_checkpointing: bool | None = None
    enable_progress_bar: bool | None = None
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: Any = None  # true, false or "warn"
    benchmark: bool | None = None
    inference_mode: bool = True
    profiler: str | None = None  # simple | advanced | pytorch: writes fit-profile* into the run directory
    detect_anomaly: bool = False
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    limit_predict_batches: int | float | None = None
    overfit_batches: int | float = 0.0
    log_every_n_steps: int | None = None
    enable_model_summary: bool | None = False
    barebones: bool = False


@dataclass
class EarlyStoppingConfig:
    """Stop when the monitored score has not become better for ``patience`` validations; null never stops."""

    patience: int | None = None
    min_delta: float = 0.0


@dataclass
class CheckpointConfig:
    """Which weights are kept."""

    monitor: str = "val/mIoU"
    mode: str | None = None  # max | min; null follows the score (a loss is best where it is lowest)
    every_n_steps: int | None = None  # write the training state every n optimiser steps
    every_minutes: float | None = 5.0  # and at the first step boundary after so many minutes
    keep: int = 2  # how many states, and how many best weights; a damaged one needs a predecessor


@dataclass
class TrainingConfig:
    """What is perpixel's and not Lightning's."""

    ema_decay: float | None = 0.999  # per optimiser step, warmed up as min(d, (1+n)/(10+n)); null: no EMA
    compile: bool = False  # torch.compile the network
    channels_last: bool = True
    cache_features: bool = True  # with data.views and a frozen encoder: compute its features once
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    on_nan: str = "stop"  # a loss or gradient that is not finite: stop, or rollback to the last checkpoint
    timeout_s: float | None = 1800.0  # a step, or a batch of validation, that takes longer hangs; null: no limit
    nan_check_steps: int = 10  # optimiser steps between two looks at what was found; a look makes a GPU wait
    overlays: int = 8  # validation images drawn as input, truth, prediction and errors
    test: bool = True  # score the test split once, with the best checkpoint, after training


@dataclass
class SweepConfig:
    """What becomes of a sweep (``-m``) that is started again."""

    name: str | None = None  # its directory is <output>/sweeps/<name>, instead of one named by the time
    retry: bool = False  # repeat the jobs that failed
    stale: str | None = None  # jobs that other code has trained: keep | repeat; null: ask
    max_hours: float | None = None  # stop after so long, with all states written; the same command goes on


@dataclass
class TrainConfig:
    """The root of ``conf/train.yaml``."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: Any = MISSING
    encoder: Any = MISSING
    decoder: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: Any = field(default_factory=dict)  # evaluators by name; null leaves one out
    logger: Any = MISSING
    init_from: str | None = (
        None  # a run directory, bundle or .safetensors file whose weights are taken over as they fit
    )
    resume: str | None = None  # a run directory: go on where it stopped, with its own config
    sweep: SweepConfig = field(default_factory=SweepConfig)
    seed: int = 0
    output: str = "runs"  # root of runs and sweeps
    name: str | None = None  # of a run's directory; null: what was chosen on the command line


@dataclass
class EvaluateConfig:
    """The root of ``conf/evaluate.yaml``."""

    run: str = MISSING  # a run directory, or a bundle (its model/ folder, or a copy of it)
    split: str = "test"  # val or test; each look at test is counted in the run's manifest
    batch_size: int | None = None  # null: the run's own
    device: str = "auto"  # cpu, cuda, cuda:1, …; auto takes a GPU if there is one
    output: str | None = None  # folder for the results; null: the run directory
    data: Any = None  # other data than the run's; null: its own, of which single keys can change (data.source.root=…)
    evaluation: Any = None  # null: as the run was scored; single keys can change (evaluation.spatial.thin_width=3)


@dataclass
class RefineConfig:
    """Steps that follow a prediction; null leaves one out."""

    guided: int | None = None  # radius, pixels
    crf: int | None = None  # steps
    opening: Any = None  # radius by class name, pixels
    closing: Any = None
    small: int | None = None  # pixels


@dataclass
class PredictConfig:
    """The root of ``conf/predict.yaml``."""

    run: Any = MISSING  # a run directory or model folder, or several
    input: Any = MISSING  # a file, folder, glob, list, several files, or - for standard input
    output: str = MISSING
    ids: str = "index"  # index | original
    overlays: bool = True
    confidence: bool = False
    entropy: bool = False
    probabilities: bool = False
    polygons: str | None = None  # geojson | gpkg | coco
    polygon_tolerance: float = 0.0  # pixels
    window: Any = None  # pixels of a side, or [height, width]; null: images up to 4 million pixels are seen whole
    overlap: float = 0.5
    blend: str = "gaussian"
    window_batch: int = 4
    tta: list[Any] = field(default_factory=list)  # hflip, vflip, rot90 and scales
    refine: RefineConfig = field(default_factory=RefineConfig)
    smoothing: float = 0.0  # of videos, over time
    shard: str | None = None  # i/n
    device: str = "auto"
    precision: str | None = None


@dataclass
class ReportConfig:
    """The root of ``conf/report.yaml``."""

    runs: Any = MISSING  # run or sweep directories, or folders that hold some: a path, a glob, or several
    by: list[str] | None = None  # keys to compare; null: all that vary
    output: str = "report.html"


@dataclass
class UnusedInAudit:
    """What an experiment may set for its training, and an audit does not use."""

    encoder: Any = None
    decoder: Any = None
    loss: Any = None
    model: Any = None
    optimizer: Any = None
    scheduler: Any = None
    trainer: Any = None
    logger: Any = None
    evaluation: Any = None
    training: Any = None
    name: Any = None
    init_from: Any = None


@dataclass
class AuditConfig(UnusedInAudit):
    """The root of ``conf/audit.yaml``."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: Any = MISSING
    output: str = "runs"
    workers: int | None = None  # processes; null: one per core
    seed: int = 0


@dataclass
class ShapesConfig:
    """The root of ``conf/shapes.yaml``."""

    encoder: Any = MISSING
    decoder: Any = MISSING
    model: Any = MISSING
    loss: Any = None  # a model may bring one; nothing is trained here
    size: Any = field(default_factory=lambda: [256, 256])  # H, W of the image; 256 is [256, 256]
    in_channels: int = 3
    num_classes: int = 6
    run: str | None = None  # a run directory: its trained model
    measured: int = 2  # random images for the measured receptive field; 0 leaves it out
    checkerboard: bool = True
    seed: int = 0
    output: str = "runs"


@dataclass
class ExportedDataConfig:
    """Of the run's data, what an export may change."""

    allow_changed: bool = False  # compare although the run's data are not what it was trained with


@dataclass
class ExportConfig:
    """The root of ``conf/export.yaml``."""

    run: str = MISSING  # a run directory or a bundle
    export: Any = MISSING
    output: str | None = None
    images: str | None = None  # a folder of images to compare on; null: the run's validation images
    pixels: int = 1_000_000  # to compare
    limit: int | None = 64  # labelled images for the loss of mIoU; null: all
    data: ExportedDataConfig = field(default_factory=ExportedDataConfig)


@dataclass
class InitConfig:
    """The root of ``conf/init.yaml``."""

    folder: str = MISSING  # with images and their labels
    name: str | None = None  # of the experiment; null: the folder's
    config: str = "configs"  # where the config goes: <config>/experiment/<name>.yaml
    budget: str = "5min"  # what training may take
    classes: list[str] | None = None  # names, in the order of the values; null: from the folder, or asked once
    run: bool = False  # train at once
    overwrite: bool = False  # a config of the same name that was changed
    accelerator: str = "auto"  # auto | cpu
    seed: int = 0
    output: str = "runs"


@dataclass
class DoctorConfig:
    """The root of ``conf/doctor.yaml``."""

    root: str | None = None  # a folder of images
    output: str = "runs"  # where runs would go
    deep: bool = False  # import what is otherwise only found


SCHEMAS = {
    "train": TrainConfig,
    "init": InitConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "report": ReportConfig,
    "audit": AuditConfig,
    "shapes": ShapesConfig,
    "export": ExportConfig,
    "doctor": DoctorConfig,
}


def register() -> None:
    """Put the schemas where YAMLs find them: ``defaults: [train_schema, …]``."""
    from hydra.core.config_store import ConfigStore

    for verb, node in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{verb}_schema", node=node, provider="perpixel")
