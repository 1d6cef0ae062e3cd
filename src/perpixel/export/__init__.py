"""Other formats of a trained model, each proved equal to it (:mod:`perpixel.export.parity`)."""

from perpixel.export.base import Bound, Exporter
from perpixel.export.int8 import Int8
from perpixel.export.int8_onnx import Int8Onnx
from perpixel.export.onnx_file import Onnx
from perpixel.export.openvino_ir import OpenVino
from perpixel.export.parity import Parity
from perpixel.export.tensorrt_engine import TensorRt
from perpixel.export.torch_export import TorchExport

__all__ = ["Bound", "Exporter", "Int8", "Int8Onnx", "Onnx", "OpenVino", "Parity", "TensorRt", "TorchExport"]
