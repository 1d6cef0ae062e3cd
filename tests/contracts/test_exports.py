"""Every architecture as ONNX, and every upsampling on the U-Net: other sizes and batches than the traced ones.

The architectures are those of ``test_models``: one more there is one more here.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.contracts.test_models import FIRST_OF_EACH, UPSAMPLINGS, exportable

from perpixel.bundle import ModelBundle
from perpixel.export import Bound, Onnx
from perpixel.export.parity import compare, faults
from perpixel.inference.backend import TorchBackend
from perpixel.labels import LabelSpace
from perpixel.spec import ModelSpec, Normalise

BY_WORD = ("nearest", "transposed", "pixelshuffle", "dysample")
PAIRS = [(row[0], "bilinear") for row in FIRST_OF_EACH] + [("unet", name) for name in BY_WORD]
SHAPES = [(1, 65, 97), (3, 64, 96), (1, 129, 34), (2, 33, 35)]
TRAINED = (64, 96)


def bundle(model: str, upsampling: str) -> ModelBundle:
    torch.manual_seed(0)
    network = exportable(model, upsampling)
    names = tuple("abcde")
    spec = ModelSpec(
        nodes={"model": {}, "encoder": {}, "decoder": {}},
        labels=LabelSpace(names, tuple((10 * i, 0, 0) for i in range(5))),
        normalise=Normalise((0.4, 0.5, 0.6), (0.2, 0.25, 0.3)),
        in_channels=3,
        stride=network.stride,
        train_size=TRAINED,
    )
    return ModelBundle(spec, network)


def test_the_upsamplings_are_all_there() -> None:
    assert {name.partition("-")[0] for name, _ in UPSAMPLINGS} == {"bilinear", *BY_WORD}


@pytest.mark.slow  # tests/export has one of them among the fast
@pytest.mark.parametrize(("model", "upsampling"), PAIRS)
def test_the_exported_graph_is_the_same_model_at_every_size_it_takes(
    model: str, upsampling: str, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    original, exporter = bundle(model, upsampling), Onnx()
    exported = exporter.export(original, tmp_path, [])
    fixed = original.model.export_limits is not None
    assert (exporter.fixed_size(original) == TRAINED) == fixed
    shapes = [(batch, *TRAINED) for batch in (1, 3)] if fixed else SHAPES
    batches = [torch.rand(batch, 3, height, width) for batch, height, width in shapes]
    backend = TorchBackend(original.model, original.spec)
    found = compare(backend, exported, batches, [], original.spec.labels)
    assert faults(found, Bound()) == [], found
    if fixed:
        with pytest.raises(ValueError, match=r"exported for images of 64×96 pixels.*export\.size="):
            exported(torch.rand(1, 3, 65, 96))
