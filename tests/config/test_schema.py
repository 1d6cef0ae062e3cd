from __future__ import annotations

import inspect
from dataclasses import fields

import lightning.pytorch as pl

from perpixel.config.schema import TrainerConfig

SET_BY_PERPIXEL = {"self", "logger", "callbacks", "plugins", "default_root_dir", "use_distributed_sampler"}
OPTIONAL_SERVICES = {"model_registry", "enable_autolog_hparams"}


def test_every_plain_trainer_argument_is_a_key() -> None:
    arguments = set(inspect.signature(pl.Trainer.__init__).parameters)
    assert {field.name for field in fields(TrainerConfig)} == arguments - SET_BY_PERPIXEL - OPTIONAL_SERVICES
