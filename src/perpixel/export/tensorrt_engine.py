"""TensorRT: an engine for the GPU of this machine.

TensorRT 10 and 11 are served by one path: the network is strongly typed (its types are the ONNX graph's), as 11 took
the builder's fp16 and INT8 flags away. A float16 engine is made from a graph whose weights were converted first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from perpixel.bundle import ModelBundle
from perpixel.export.base import Bound, Exporter, check_installed
from perpixel.export.graph import EXAMPLE
from perpixel.export.onnx_file import write_onnx
from perpixel.inference.backend import Backend
from perpixel.inference.tensorrt_backend import TensorRtBackend, check_gpu

LEAST = 32
"""Pixels; the smallest side of the engine's profile."""


class TensorRt(Exporter):
    """A TensorRT engine in float32 (TF32 off, so that the comparison holds), from the ONNX graph.

    Args:
        batch: the most images at once.
        largest: (H, W), the largest image; None takes twice the training samples' size.
        size: see :class:`Exporter`.
        max_relative: see :class:`Bound`.
        min_agreement: see :class:`Bound`.
    """

    format = "tensorrt"
    file = "model.engine"
    needs = ("onnx", "onnxscript", "tensorrt")

    def __init__(
        self,
        batch: int = 8,
        largest: list[int] | None = None,
        size: list[int] | None = None,
        max_relative: float = 1e-3,
        min_agreement: float = 0.9999,
    ) -> None:
        super().__init__(size)
        if largest is not None and (len(largest) != 2 or min(largest) < LEAST):
            raise ValueError(f"export.largest={largest}: give height and width, {LEAST} or more.")
        self.batch = batch
        self.largest = largest
        self.max_relative = max_relative
        self.min_agreement = min_agreement

    @property
    def bound(self) -> Bound:
        return Bound(self.max_relative, self.min_agreement)

    def check(self) -> None:
        check_gpu("export=tensorrt")
        if importlib.util.find_spec("tensorrt") is None:  # no extra of ours: its wheels are some gigabytes
            raise ValueError("export=tensorrt needs tensorrt, not installed here: pip install tensorrt.")
        check_installed(self.needs[:2], "export=tensorrt", "onnx")

    def export(self, bundle: ModelBundle, out: Path, calibration: Iterable[Tensor]) -> Backend:
        size = self.fixed_size(bundle)
        with TemporaryDirectory() as folder:
            graph = Path(folder) / "model.onnx"
            write_onnx(bundle, graph, size)
            content = self._build(graph, bundle, size)
        (out / self.file).write_bytes(content)
        return TensorRtBackend(out / self.file, size)

    def _build(self, graph: Path, bundle: ModelBundle, size: tuple[int, int] | None) -> bytes:
        import tensorrt as trt

        logger = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(str(graph)):
            reasons = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
            raise ValueError(f"TensorRT {trt.__version__} cannot read this network: {reasons}")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        config.add_optimization_profile(self._profile(builder, bundle, size))
        engine: Any = builder.build_serialized_network(network, config)
        if engine is None:
            raise ValueError(f"TensorRT {trt.__version__} could not build an engine; its log above says why.")
        return bytes(engine)

    def _profile(self, builder: Any, bundle: ModelBundle, size: tuple[int, int] | None) -> Any:
        channels, (height, width) = bundle.spec.in_channels, size or bundle.spec.train_size
        tall, wide = size or self.largest or (max(2 * height, EXAMPLE[1]), max(2 * width, EXAMPLE[2]))
        least = size or (LEAST, LEAST)
        profile = builder.create_optimization_profile()
        profile.set_shape(
            "images", (1, channels, *least), (1, channels, height, width), (self.batch, channels, tall, wide)
        )
        return profile
