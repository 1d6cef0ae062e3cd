"""INT8 as ONNX: quantise and dequantise nodes in the graph, for ONNX Runtime on any processor."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Bound, Exporter
from perpixel.export.onnx_file import metadata, write_onnx
from perpixel.inference.backend import Backend
from perpixel.inference.onnx_backend import OnnxBackend


class Int8Onnx(Exporter):
    """ONNX with 8-bit convolutions (QDQ format): static post-training quantisation by ONNX Runtime.

    Weights per channel, activations per tensor, in the range that they take on training images. Only the least and
    largest value of each activation are kept (its other methods, entropy and percentile, keep all activations of all
    images). It has no accuracy control: where it loses too much use ``export=int8``.

    Args:
        samples: training images that ranges are measured on.
        max_miou_drop: see :class:`Bound`, points.
        min_agreement: least share of pixels with the original's label, where the labelled images are too few to
            measure mIoU.
        size: see :class:`Exporter`.
    """

    format = "int8_onnx"
    file = "model.onnx"
    needs = ("onnx", "onnxscript", "onnxruntime")
    extra = "onnx"

    def __init__(
        self,
        samples: int = 128,
        max_miou_drop: float = 0.5,
        min_agreement: float = 0.99,
        size: list[int] | None = None,
    ) -> None:
        super().__init__(size)
        if samples < 1:
            raise ValueError(f"export.samples={samples}: ranges are measured on 1 image or more.")
        self.samples = samples
        self.max_miou_drop = max_miou_drop
        self.min_agreement = min_agreement

    @property
    def bound(self) -> Bound:
        return Bound(None, 0.0, self.max_miou_drop, self.min_agreement)

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
        size = self.fixed_size(bundle)
        with TemporaryDirectory() as folder:
            plain, ready, quantised = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "quantised"))
            write_onnx(bundle, plain, size)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(ready),
                str(quantised),
                _reader(quantization.CalibrationDataReader, islice(iter(calibration), self.samples)),
                quant_format=quantization.QuantFormat.QDQ,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=["Conv", "ConvTranspose", "MatMul"],
                calibrate_method=quantization.CalibrationMethod.MinMax,
            )
            model = onnx.load(str(quantised))
        onnx.helper.set_model_props(model, metadata(bundle.spec))
        onnx.save(model, str(out / self.file))
        return OnnxBackend(out / self.file, size)


def _reader(base: Any, images: Iterator[Tensor]) -> Any:
    """Images one by one, as ONNX Runtime asks for them."""

    class Reader(base):
        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            image = next(images, None)
            return None if image is None else {"images": image.contiguous().numpy()}

    return Reader()
