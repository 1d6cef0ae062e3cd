"""OpenVINO's intermediate representation: for Intel processors, and what is quantised."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Lossless
from perpixel.export.onnx_file import first_difference, metadata, write_onnx
from perpixel.inference.backend import Backend
from perpixel.inference.openvino_backend import OpenVinoBackend


class OpenVino(Lossless):
    """OpenVINO IR (``model.xml`` and ``model.bin``), weights in float32, made from the ONNX graph.

    Args:
        size, max_relative, min_agreement: see :class:`Lossless`.
    """

    format = "openvino"
    file = "model.xml"
    needs = ("onnx", "onnxscript", "openvino")
    extra = "openvino"

    _program: Any = None

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        size = self.fixed_size(bundle)
        model, self._program = convert(bundle, size)
        save(model, out / self.file, bundle)
        return OpenVinoBackend(out / self.file, size)

    def first_difference(self, images: Tensor) -> str | None:
        """In the ONNX graph that the IR was made from."""
        if self._program is None:
            return None
        found = first_difference(self._program, images, self.max_relative)
        return found or "not in the ONNX graph that the IR was made from: in OpenVINO's own part"


def convert(bundle: ModelBundle, size: tuple[int, int] | None) -> tuple[Any, Any]:
    """The network as an OpenVINO model in memory, and the ONNX program that it was made from."""
    import openvino as ov

    with TemporaryDirectory() as folder:
        program = write_onnx(bundle, Path(folder) / "model.onnx", size)
        # Not ov.convert_model, which reports its use to its makers.
        return ov.Core().read_model((Path(folder) / "model.onnx").read_bytes()), program


def save(model: Any, path: Path, bundle: ModelBundle) -> None:
    """Write an IR with the facts that :func:`perpixel.export.onnx_file.metadata` gives, as its ``rt_info``."""
    import openvino as ov

    for key, value in metadata(bundle.spec).items():
        model.set_rt_info(value, key.split("."))
    ov.save_model(model, str(path), compress_to_fp16=False)  # its default would round the weights to 16 bits
