"""How far a dilated encoder is from the undilated one, before (smp's and timm's own output_stride) and after.

python experiments/dilation/dilation.py identity                    # writes results.csv and prints the table
python experiments/dilation/dilation.py train --before runs/before  # DeepLabV3+ on earth, seeds 0-2, on smp's dilation
python experiments/dilation/dilation.py train runs/after            # the same on ours
python experiments/dilation/dilation.py scores runs/before runs/after   # writes scores.csv and prints the table
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from omegaconf import OmegaConf
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

import perpixel
from perpixel.config.paths import conf_dir
from perpixel.models import Encoder, encoder
from perpixel.models.encoder import resolve

HERE = Path(__file__).parent
STRIDES = (16, 8)
RECIPE = [
    "data=earth",
    "model=deeplabv3plus",
    "encoder=efficientnet_lite0",
    "decoder=bilinear",
    "loss=dice",
    "scheduler=onecycle",
    "optimizer.lr=2e-3",
    "data.batch_size=8",
    "trainer.max_epochs=8",
    "trainer.limit_train_batches=20",
]


@torch.no_grad()
def fill(network: nn.Module) -> None:
    """Random weights that keep a signal's size, and batch norm statistics as of a trained network."""
    torch.manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("weight", "running_var")):
            tensor.uniform_(0.5, 1.5)
        else:
            tensor.normal_(std=0.2)


@torch.no_grad()
def maps_of(network: nn.Module, images: Tensor, see: Callable[[str, Tensor], Tensor | None]) -> list[Tensor]:
    """The maps; ``see(a convolution's name, its output)`` may give a tensor in the output's place."""
    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: see(name, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    maps: list[Tensor] = network.eval()(images)
    for hook in hooks:
        hook.remove()
    return maps


def error(dense: Tensor, coarse: Tensor) -> float:
    """Relative distance (L2) of the dense map, at the coarse one's pixels."""
    step = dense.shape[-1] // coarse.shape[-1]
    return float((dense[..., ::step, ::step] - coarse).norm() / coarse.norm().clamp(min=1e-12))


def smps(name: str, output_stride: int) -> nn.Module:
    """The encoder as smp or timm dilates it; without the layers that smp never calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = get_encoder(resolve(name), 3, 5, None, output_stride)
    encoder.remove_leftovers(network)
    return network


def compare(name: str) -> Iterator[tuple[int, str, str]]:
    """(output stride, error before, error after) of one encoder, gates copied from the undilated network."""
    try:
        Encoder(name).build(output_stride=16)
        network = Encoder(name).build()
    except ValueError:
        yield from ((stride, "refused", "refused") for stride in STRIDES)
        return
    fill(network)
    images = torch.randn(1, 3, 128, 192, generator=torch.Generator().manual_seed(1))
    gates: dict[str, Tensor] = {}
    coarse = maps_of(network, images, lambda n, out: gates.setdefault(n, out) if out.shape[-2:] == (1, 1) else None)
    for stride in STRIDES:
        errors = []
        for dilated in (smps(name, stride), Encoder(name).build(output_stride=stride)):
            dilated.load_state_dict(network.state_dict())
            dense = maps_of(dilated, images, lambda n, _: gates.get(n))
            errors.append(f"{max(map(error, dense, coarse)):.1e}")
        yield stride, *errors


def identity() -> None:
    """Compare every encoder of ``conf/encoder/``."""
    rows = []
    for file in sorted((conf_dir() / "encoder").glob("*.yaml")):
        if file.stem != "none":
            for stride, before, after in compare(str(OmegaConf.load(file).name)):
                rows.append([file.stem, stride, before, after])
                print("|", " | ".join(map(str, rows[-1])), "|", flush=True)
    write("results.csv", ["encoder", "output stride", "relative error, smp", "relative error, perpixel"], rows)


@contextmanager
def dilated_by_smp() -> Iterator[None]:
    """Inside the block encoders are dilated as smp does it."""
    ours = encoder.dilate

    def theirs(network: nn.Module, in_channels: int, output_stride: int) -> None:
        network.make_dilated(output_stride)

    encoder.dilate = theirs
    try:
        yield
    finally:
        encoder.dilate = ours


def train(output: Path, before: bool) -> None:
    """Three seeds; runs go to ``output/<seed>``. The atrous rates are the paper's in both, to compare one thing."""
    for seed in range(3):
        overrides = [*RECIPE, f"seed={seed}", f"hydra.run.dir={output / str(seed)}"]
        if before:
            with dilated_by_smp():
                perpixel.train(overrides)
        else:
            perpixel.train(overrides)


def scores(*outputs: Path) -> None:
    """Read the runs' scores."""
    rows = []
    for output in outputs:
        for run in sorted(path for path in output.iterdir() if (path / "metrics.json").is_file()):
            found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            rows.append([output.name, run.name, *(f"{found[split]['mIoU']:.4f}" for split in ("val", "test"))])
            print("|", " | ".join(rows[-1]), "|")
    write("scores.csv", ["dilation", "seed", "val mIoU", "test mIoU"], rows)


def write(name: str, header: list[str], rows: list[list[object]]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["identity"]:
            identity()
        case ["train", "--before", output]:
            train(Path(output), before=True)
        case ["train", output]:
            train(Path(output), before=False)
        case ["scores", *outputs]:
            scores(*map(Path, outputs))
        case _:
            sys.exit(__doc__)
