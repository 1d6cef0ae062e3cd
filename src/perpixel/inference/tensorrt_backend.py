"""TensorRT as a backend: a serialised engine on the GPU that it was built for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from perpixel.inference.fixed_size import check_size


class TensorRtBackend:
    """Runs an engine file; input and output stay on the GPU, in torch's memory.

    Args:
        path: the engine, built by the same TensorRT on the same kind of GPU.
        size: (H, W) that it takes, None for those within its profile.

    Raises:
        ValueError: there is no GPU or no TensorRT, or the engine is of another one.
    """

    def __init__(self, path: Path, size: tuple[int, int] | None = None) -> None:
        check_gpu(f"'{path}'")
        import tensorrt as trt

        self.runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = self.runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise ValueError(
                f"'{path}' was built by another TensorRT than {trt.__version__}, or for another GPU: export it here."
            )
        self.context = self.engine.create_execution_context()
        self.size = size
        self.least, _, self.most = (tuple(shape) for shape in self.engine.get_tensor_profile_shape("images", 0))

    def __call__(self, images: Tensor) -> Tensor:
        """See :class:`perpixel.inference.backend.Backend`; the logits lie on the GPU.

        Raises:
            ValueError: the images lie outside the sizes that the engine was built for.
        """
        check_size(images, self.size)
        shape = tuple(images.shape)
        if not all(low <= side <= high for low, side, high in zip(self.least, shape, self.most, strict=True)):
            raise ValueError(
                f"images of shape {shape} lie outside {self.least}…{self.most}, for which this engine was built: "
                "export again with export.largest=[H,W] and export.batch."
            )
        ready = images.cuda().float().contiguous()
        self.context.set_input_shape("images", shape)
        logits = torch.empty(tuple(self.context.get_tensor_shape("logits")), device=ready.device)
        self.context.set_tensor_address("images", ready.data_ptr())
        self.context.set_tensor_address("logits", logits.data_ptr())
        stream = torch.cuda.current_stream()
        if not self.context.execute_async_v3(stream.cuda_stream):
            raise ValueError(f"TensorRT failed on images of shape {shape}; its log above says why.")
        stream.synchronize()
        return logits


def check_gpu(what: str) -> None:
    """Refuse where there is no NVIDIA GPU.

    Raises:
        ValueError: says what works without.
    """
    if not torch.cuda.is_available():
        raise ValueError(
            f"{what} needs an NVIDIA GPU, as TensorRT builds and runs engines for the very GPU; torch sees none here. "
            "On a CPU use export=onnx, export=openvino or export=int8."
        )
