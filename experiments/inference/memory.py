"""How much memory a streamed prediction takes: a near-free network, six classes, images as wide and ever higher.

python experiments/inference/memory.py --width 30000 --heights 2048,8192,30000

Each image is a NumPy file, memory-mapped; its mask is written as a PNG. A process of its own labels each and tells by
how much its resident set at its peak exceeds the one with the model loaded.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CLASSES = 6
ROWS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=30000)
    parser.add_argument("--heights", default="2048,8192,30000")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--folder", type=Path, help="for the images: as many bytes as pixels times three")
    parser.add_argument("--label", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.label is not None:
        print(json.dumps(label(arguments.label, arguments.window)))
        return
    print("| height × width | MB above the model | seconds |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for height in map(int, arguments.heights.split(",")):
            path = image(Path(folder) / "image.npy", height, arguments.width)
            command = [sys.executable, __file__, "--label", str(path), "--window", str(arguments.window)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            print(f"| {height} × {arguments.width} | {found['mb']:.0f} | {found['seconds']:.0f} |", flush=True)


def image(path: Path, height: int, width: int) -> Path:
    """A NumPy file of blocks of noise, each as smooth as a photograph's parts."""
    rng = np.random.default_rng(0)
    block = rng.integers(0, 256, (ROWS // 32, width // 32 + 1, 3), np.uint8).repeat(32, axis=0).repeat(32, axis=1)
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (height, width, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for top in range(0, height, ROWS):
            file.write(np.ascontiguousarray(block[: height - top, :width]).tobytes())
    return path


def label(path: Path, window: int) -> dict[str, float]:
    import torch

    from perpixel.bundle import Predictor
    from perpixel.data.formats.windowed import open_windowed
    from perpixel.inference.backend import TorchBackend
    from perpixel.inference.sliding_window import SlidingWindow
    from perpixel.labels import LabelSpace
    from perpixel.spec import ModelSpec, Normalise
    from perpixel.workflows.inputs import Input
    from perpixel.workflows.predicted_files import Maps, PredictedFiles

    torch.manual_seed(0)
    names = tuple(f"class {index}" for index in range(CLASSES))
    labels = LabelSpace(names, tuple((40 * index, 0, 0) for index in range(CLASSES)))
    normalise = Normalise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    nodes = {"model": {}, "encoder": {}, "decoder": {}}
    spec = ModelSpec(nodes, labels, normalise, in_channels=3, stride=1, train_size=(window, window))
    network = torch.nn.Conv2d(3, CLASSES, 1)
    predictor = Predictor(TorchBackend(network, spec), spec, SlidingWindow((window, window)))
    predictor.predict(np.zeros((window, window, 3), np.uint8))
    files = PredictedFiles(path.parent / "out", labels, None, Maps(overlays=False))
    before, start = peak(), time.perf_counter()
    windowed = open_windowed(path, 3)
    with files.writing(Input(path, "image"), windowed.shape) as write:
        for band, prediction in predictor.stream(windowed, path):
            write(band, prediction)
    return {"mb": peak() - before, "seconds": time.perf_counter() - start}


def peak() -> float:
    """Of this process's resident set, MB of 10⁶ bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
