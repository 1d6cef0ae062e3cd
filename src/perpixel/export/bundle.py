"""A trained model as two files without pickle: ``model.safetensors`` (weights) and ``model.json`` (how to build it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save
from torch import Tensor

from perpixel._version import __version__
from perpixel.models.weight_files import read_safetensors
from perpixel.tracking.files import make_directory, replacing, write_atomically

if TYPE_CHECKING:
    from perpixel.data import DataModule
    from perpixel.labels import LabelSpace
    from perpixel.models import SegmentationModel

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, from a run directory, a bundle or a safetensors file.

    Raises:
        ValueError: there is none of these at the path.
    """
    for file in (path, path / WEIGHTS, path / "model" / WEIGHTS):
        if file.is_file() and file.suffix == ".safetensors":
            return read_safetensors(file)
    raise ValueError(
        f"'{path}' holds no saved model: give a finished run's directory, its model/ folder, or a .safetensors file."
    )


def save_bundle(
    directory: Path, model: SegmentationModel, cfg: DictConfig, labels: LabelSpace, data: DataModule
) -> None:
    """Write a model's weights and all that is needed to build and feed it.

    Args:
        directory: made where it is missing.
        model: its present weights are written, in their dtype, contiguous, on the CPU.
        cfg: the train config; its model, encoder and decoder nodes are kept.
        labels: classes, palette and ignore index.
        data: tells channels and normalisation, ``(x / full scale − mean) / std``.

    Raises:
        OSError: with the file's name; a bundle that was there before is whole.
    """
    make_directory(directory)
    # Weights that share storage would be refused; each tensor is written in full.
    state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    with replacing(directory / WEIGHTS) as file:
        file.write(save(state))
    nodes: dict[str, Any] = {
        key: OmegaConf.to_container(cfg[key], resolve=True) for key in ("model", "encoder", "decoder")
    }
    for key in ("weights", "sha256"):  # the bundle holds them
        nodes["encoder"].pop(key, None)
    description = {
        "perpixel": __version__,
        **nodes,
        "in_channels": data.source.channels,
        "stride": model.stride,
        "train_size": list(cfg.data.size),
        "classes": labels.names,
        "palette": labels.palette,
        "ignore_index": labels.ignore_index,
        "mean": data.mean,
        "std": data.std,
    }
    write_atomically(directory / DESCRIPTION, json.dumps(description, indent=2) + "\n")
