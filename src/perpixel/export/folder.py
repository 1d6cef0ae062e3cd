"""An export on the disk: a folder with the model, ``model.json`` and what proves it on the target.

``model.json`` is a bundle's (see :class:`perpixel.spec.ModelSpec`) with one entry more, ``export``: the format, the
files with their SHA-256, the size that it takes, and what the comparison with the original found.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any
from uuid import uuid4

from perpixel._version import __version__
from perpixel.bundle.bundle import DESCRIPTION, read_description
from perpixel.spec import ModelSpec
from perpixel.tracking.files import PARTIAL, make_directory, write_atomically
from perpixel.tracking.symlinks import refuse_links

RUNTIMES: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "openvino": ("openvino",),
    "int8": ("openvino",),
    "int8_onnx": ("onnxruntime", "openvino"),
    "torch_export": ("torch",),
    "tensorrt": ("tensorrt",),
}
"""What runs each format, the first unless another is asked for."""


@dataclass(frozen=True)
class ExportedModel:
    """What an export folder says of itself.

    Attributes:
        spec: the model's.
        format: a key of ``RUNTIMES``.
        file: the model's file.
        size: (H, W) that it takes, None for any.
    """

    spec: ModelSpec
    format: str
    file: Path
    size: tuple[int, int] | None


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A directory to write into, which takes its name only if the block ends well; it then replaces what was there.

    If the block fails nothing is left, and what was there before is untouched.
    """
    make_directory(out.parent)
    staging = out.with_name(f"{PARTIAL}{out.name}.{uuid4().hex}")
    staging.mkdir()
    try:
        yield staging
        old = out.with_name(f"{PARTIAL}old-{out.name}.{uuid4().hex}")
        if out.exists():
            out.replace(old)
        staging.replace(out)
        rmtree(old, ignore_errors=True)
    finally:
        rmtree(staging, ignore_errors=True)


def refuse_foreign(out: Path) -> None:
    """Refuse to replace a directory that is no export.

    Raises:
        ValueError: it holds something else.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not is_export(out)):
        raise ValueError(f"output={out}: there is something else than an export; choose another directory.")


def describe(directory: Path, spec: ModelSpec, facts: Mapping[str, Any], files: list[str]) -> None:
    """Write ``model.json``.

    Args:
        directory: where the files lie.
        spec: of the original.
        facts: ``format``, ``file``, ``size`` and what else there is to say.
        files: names to record the SHA-256 of.
    """
    sums = {name: _sha256(directory / name) for name in files}
    found = {"perpixel": __version__, **spec.to_json(), "export": {**facts, "files": sums}}
    write_atomically(directory / DESCRIPTION, json.dumps(found, indent=2) + "\n")


def is_export(path: Path) -> bool:
    """Whether a path is an export folder, or a file in one."""
    directory = _folder(path)
    return (directory / DESCRIPTION).is_file() and isinstance(
        read_description(directory / DESCRIPTION).get("export"), Mapping
    )


def read_export(path: Path) -> ExportedModel:
    """Read and check an export folder, or the folder of a file in one; nothing in it is executed.

    Raises:
        ValueError: a file is missing or altered, or the description is none.
    """
    directory = _folder(path)
    refuse_links(directory)
    where = directory / DESCRIPTION
    described = read_description(where)
    spec = ModelSpec.from_json(described, str(where))
    found = described.get("export")
    try:
        assert isinstance(found, Mapping)
        form, name, size, sums = found["format"], found["file"], found["size"], dict(found["files"])
        fixed = None if size is None else (int(size[0]), int(size[1]))
        if form not in RUNTIMES or name not in sums:
            raise ValueError(f"format {form!r}, file {name!r}")
    except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
        raise ValueError(f"'{where}' does not describe an export of perpixel ({error}).") from None
    for one, expected in sums.items():
        _check(directory, str(one), expected)
    return ExportedModel(spec, form, directory / str(name), fixed)


def _check(directory: Path, name: str, expected: object) -> None:
    path = directory / name
    if Path(name).name != name or not path.is_file():
        raise ValueError(f"'{directory}' has no {name}: copy the whole export folder.")
    if _sha256(path) != expected:
        raise ValueError(
            f"'{path}' is not the file that {DESCRIPTION} describes: it is truncated, altered or of another export. "
            "Copy the whole export folder again, or export again."
        )


def _folder(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
