"""What a config may say in short, written out before anything reads it."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

SIZES = ("size", "data.size", "data.source.size", "data.source.window", "data.source.train_window", "data.source.tile")
"""Keys that hold [height, width]; ``data.size`` comes before those that are interpolations of it."""

PATHS = ("data.source.root", "data.policy", "data.canary", "encoder.weights", "init_from")
"""Keys of a train config that may name a file or folder; those within ``data.source.root`` are relative to it."""

NO_FILE = ("none", "imagenet", "package:")
"""How values of ``encoder.weights`` begin that are no path."""


def write_out(cfg: DictConfig) -> DictConfig:
    """Make squares of sizes that are one number: ``data.size=256`` is ``data.size=[256,256]``.

    Args:
        cfg: of any verb; changed in place. Keys of ``data.source`` mean a size in perpixel's own sources only.

    Returns:
        ``cfg``.
    """
    source = OmegaConf.select(cfg, "data.source._target_", throw_on_missing=False)
    ours = str(source).startswith(("perpixel.", "perpixel_scenes."))
    for key in SIZES:
        if key.startswith("data.source.") and not ours:
            continue
        parent, _, last = key.rpartition(".")
        holder = OmegaConf.select(cfg, parent) if parent else cfg
        if not isinstance(holder, DictConfig) or last not in holder:
            continue
        if OmegaConf.is_interpolation(holder, last) or OmegaConf.is_missing(holder, last):
            continue
        if isinstance(side := holder[last], int) and not isinstance(side, bool):
            OmegaConf.update(cfg, key, [side, side])
    return cfg


def is_size(value: object) -> bool:
    """Whether a written-out value is a height and a width, in pixels."""
    sides = OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
    return isinstance(sides, list) and len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)


def make_absolute(cfg: DictConfig, folder: Path) -> None:
    """Write out the paths of a train config, which means the same files from then on wherever a command is started.

    Args:
        cfg: changed in place.
        folder: where relative paths start.
    """
    for key in PATHS:
        value = OmegaConf.select(cfg, key, throw_on_missing=False)
        if isinstance(value, str) and value and not (key == "encoder.weights" and value.startswith(NO_FILE)):
            OmegaConf.update(cfg, key, str(_from(folder, Path(value).expanduser())))


def _from(folder: Path, path: Path) -> Path:
    """An absolute path without leading ``..``; those behind a link are left, for they do not cancel what is before."""
    while path.parts[:1] == ("..",):
        folder, path = folder.parent, Path(*path.parts[1:])
    return folder / path


def started_in() -> Path:
    """The folder that the command was started in, from where its user gave relative paths."""
    return Path(HydraConfig.get().runtime.cwd if HydraConfig.initialized() else Path.cwd())
