"""Labels of a large image by overlapping windows: perpixel against MONAI's sliding_window_inference.

python experiments/inference/race.py --side 2048 --classes 19 --pairs 7

Both blend Gaussian windows of 512 pixels that overlap by half, four at a time, and end with labels in uint8. Each try
is a process of its own; they alternate. Memory is the resident set at its peak above the one with image and network.
Needs perpixel[peers].
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
import torch

WINDOW, BATCH = 512, 4
PEERS = ("perpixel", "monai", "monai buffered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--network", choices=("near-free", "convolutions"), default="near-free")
    parser.add_argument("--run", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--labels", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run is not None:
        print(json.dumps(measured(arguments)))
        return
    tries: dict[str, list[dict[str, float]]] = {peer: [] for peer in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.pairs):
            for peer in PEERS:
                command = [sys.executable, __file__, *sys.argv[1:], "--run", peer, "--labels", f"{folder}/{peer}.npy"]
                found = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
                tries[peer].append(json.loads(found.stdout.splitlines()[-1]))
        ours = np.load(f"{folder}/perpixel.npy")
        agree = {peer: float((np.load(f"{folder}/{peer}.npy") == ours).mean()) for peer in PEERS}
    print(
        f"{arguments.side}², {arguments.classes} classes, {arguments.network} network, {arguments.pairs} tries each\n"
    )
    print(
        "| | seconds, median | perpixel's time as a share, worst pair | MB above | same labels |\n|---|---|---|---|---|"
    )
    for peer, found in tries.items():
        seconds = [one["seconds"] for one in found]
        worst = max(us["seconds"] / they for us, they in zip(tries["perpixel"], seconds, strict=True))
        memory = np.median([one["mb"] for one in found])
        print(f"| {peer} | {np.median(seconds):.2f} | {worst:.2f} | {memory:.0f} | {agree[peer]:.6f} |")


def measured(arguments: argparse.Namespace) -> dict[str, float]:
    torch.manual_seed(0)
    image = torch.rand(1, 3, arguments.side, arguments.side)
    network = torch.nn.Conv2d(3, arguments.classes, 1)
    if arguments.network == "convolutions":
        layers = [torch.nn.Conv2d(3, 32, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 5, padding=2)]
        network = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Conv2d(32, arguments.classes, 1))
    run = {"perpixel": ours, "monai": monai, "monai buffered": monai_buffered}[arguments.run]
    with torch.inference_mode():
        run(network, image[..., :WINDOW, :WINDOW])
        before, start = peak(), time.perf_counter()
        labels = run(network, image)
        found = {"seconds": time.perf_counter() - start, "mb": peak() - before}
    np.save(arguments.labels, labels.numpy())
    return found


def ours(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    from perpixel.inference.sliding_window import SlidingWindow, blended_bands
    from perpixel.metrics.predictions import argmax

    labels = torch.empty(image.shape[2:], dtype=torch.uint8)
    sliding = SlidingWindow((WINDOW, WINDOW), 0.5, "gaussian", BATCH)
    bands = blended_bands(network, lambda top, rows: image[0, :, top : top + rows], tuple(image.shape[2:]), sliding)
    for top, band in bands:
        labels[top : top + band.shape[1]] = argmax(band[None])[0]
    return labels


def monai(network: torch.nn.Module, image: torch.Tensor, **more: int) -> torch.Tensor:
    from monai.inferers import sliding_window_inference

    found = sliding_window_inference(image, (WINDOW, WINDOW), BATCH, network, overlap=0.5, mode="gaussian", **more)
    return found[0].argmax(0).to(torch.uint8)


def monai_buffered(network: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return monai(network, image, buffer_steps=1)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
