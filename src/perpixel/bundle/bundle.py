"""A trained model as two files without pickle: ``model.safetensors`` (weights) and ``model.json`` (how to build it)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from perpixel._version import __version__
from perpixel.config import ConfigError
from perpixel.models import SegmentationModel
from perpixel.models.build import build_network
from perpixel.models.weight_files import read_safetensors, read_weights
from perpixel.spec import ModelSpec
from perpixel.tracking.files import make_directory, replacing, write_atomically
from perpixel.tracking.symlinks import refuse_links

WEIGHTS, DESCRIPTION = "model.safetensors", "model.json"
MOST_BYTES = 16 << 20
"""Of a description; far beyond any (the classes of the largest data sets take some kilobytes)."""


@dataclass(frozen=True)
class ModelBundle:
    """A network with its spec.

    Attributes:
        spec: how the network was built, and what it takes.
        model: the network with its weights; in evaluation mode after :meth:`load`.
    """

    spec: ModelSpec
    model: SegmentationModel

    def save(self, directory: Path) -> None:
        """Write ``model.safetensors`` and ``model.json``, which holds the SHA-256 of the weights.

        Args:
            directory: made where it is missing.

        Raises:
            OSError: with the file's name; a bundle that was there before is whole.
        """
        make_directory(directory)
        # safetensors refuses tensors that share storage; each tensor is written in full.
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.model.state_dict().items()}
        content = save(state)
        with replacing(directory / WEIGHTS) as file:
            file.write(content)
        description = {
            "perpixel": __version__,
            **self.spec.to_json(),
            "weights": {"file": WEIGHTS, "sha256": hashlib.sha256(content).hexdigest()},
        }
        write_atomically(directory / DESCRIPTION, json.dumps(description, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path | str, device: str = "cpu") -> ModelBundle:
        """Rebuild a trained model. No training config, data, loss or trainer is needed, and nothing in it is executed.

        Args:
            path: a run directory, its ``model/`` folder, or a copy of that folder anywhere.
            device: where the network lies, ``cpu`` or ``cuda:0`` for example.

        Raises:
            ValueError: there is no bundle; it is altered, incomplete, of another format, or names objects that are not
                models.
        """
        directory = find_bundle(Path(path))
        refuse_links(directory)
        described = read_description(directory / DESCRIPTION)
        spec = ModelSpec.from_json(described, str(directory / DESCRIPTION))
        state = _weights(directory, described)
        try:
            model = build_network(spec.nodes, spec.labels.num_classes, spec.in_channels)
            model.load_state_dict(state)
        except (ConfigError, RuntimeError, TypeError) as error:
            raise ValueError(f"the model in '{directory}' cannot be rebuilt: {error}") from error
        return cls(spec, model.eval().to(device))


def find_bundle(path: Path) -> Path:
    """The folder with ``model.json`` of a run directory, a bundle or one of its files.

    Raises:
        ValueError: there is none; says what is there instead.
    """
    for directory in (path, path / "model", path.parent if path.is_file() else path):
        if (directory / DESCRIPTION).is_file():
            return directory
    if not path.exists():
        raise ValueError(f"'{path}' does not exist: give a run directory, its model/ folder, or a copy of that folder.")
    if (path / "manifest.json").is_file():
        raise ValueError(
            f"'{path}' is a run without a saved model (no model/{DESCRIPTION}): it has not finished. Go on with it by "
            f"resume={path}."
        )
    raise ValueError(
        f"'{path}' holds no saved model (no {DESCRIPTION}): give a finished run's directory, its model/ folder, or a "
        "copy of that folder."
    )


def read_bundle_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, of a bundle (checked against its SHA-256), of a folder that smp's ``save_pretrained`` wrote, or
    of a file (.safetensors, .ckpt, .pth).

    Raises:
        ValueError: there is none of these at the path, or the file is damaged.
    """
    folder = path if path.is_dir() else path.parent
    if path.is_file() and not (folder / DESCRIPTION).is_file():
        return read_weights(str(path))
    if path.is_dir() and (path / WEIGHTS).is_file() and not (path / DESCRIPTION).is_file():
        return read_safetensors(path / WEIGHTS)
    directory = find_bundle(path)
    return _weights(directory, read_description(directory / DESCRIPTION))


def read_description(path: Path) -> Mapping[str, Any]:
    """The parsed ``model.json`` of a bundle or an export.

    Raises:
        ValueError: it is damaged or too large to be one.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"'{path}' has more than {MOST_BYTES:,} bytes: it does not describe a perpixel model.")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"'{path}' is damaged ({error}): copy the model folder again.") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"'{path}' does not describe a perpixel model.")
    return found


def _weights(directory: Path, described: Mapping[str, Any]) -> dict[str, Tensor]:
    path, recorded = directory / WEIGHTS, described.get("weights")
    if not path.is_file():
        raise ValueError(f"'{directory}' has no {WEIGHTS}: copy the whole model folder.")
    expected = recorded.get("sha256") if isinstance(recorded, Mapping) else None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ValueError(
            f"'{path}' is not the file that {DESCRIPTION} describes (SHA-256 {found}, recorded {expected}): it is "
            "truncated, altered or belongs to another model. Copy the whole model folder again."
        )
    return read_safetensors(path)
