"""What makes two jobs the same: what was asked for, and (once it is known) the content of the data."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

NOT_ASKED = (
    "output",
    "resume",
    "sweep",
    "logger",
    "data.source.root",
    "data.num_workers",
    "data.timeout_s",
    "data.allow_changed",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
    "training.timeout_s",
    "training.overlays",
    "training.checkpoint.every_n_steps",
    "training.checkpoint.every_minutes",
    "training.checkpoint.keep",
)
"""Keys that change neither weights nor scores: where things lie, who is told, how often a state is written. The data's
place is one of them because their content counts; so does the number of workers, as results do not depend on it."""


def asked(cfg: DictConfig) -> str:
    """SHA-256 (16 hex digits) of a composed config without ``NOT_ASKED``, before any value in it is measured."""
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    for key in NOT_ASKED:
        _remove(plain, key)
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def settled(cfg: DictConfig, saved: DictConfig) -> DictConfig:
    """The config that a run saved at its first start, with measured values as they were, and of ``cfg`` what does not
    belong to the job (``NOT_ASKED``): a resumed job may read its data elsewhere and report to another logger.
    """
    saved = saved.copy()
    for key in NOT_ASKED:
        value = OmegaConf.select(cfg, key)
        if value is not None or OmegaConf.select(saved, key) is not None:
            OmegaConf.update(saved, key, value, merge=False, force_add=True)
    return saved


def _remove(node: Any, key: str) -> None:
    head, _, rest = key.partition(".")
    if not isinstance(node, dict):
        return
    if rest:
        _remove(node.get(head), rest)
    else:
        node.pop(head, None)
