"""Proves and times an exported model on the machine that it is meant for.

    python bench.py [--runs 100] [--threads 2] [--image photo.png]

Needs this folder, numpy, and onnxruntime (or openvino, for an .xml) only. It labels the reference image, compares the
labels with those of the machine that exported the model, and prints p50, p95 and p99 of each stage in milliseconds:
decode → preprocess → model → postprocess. Exits with 1 where the labels differ. Images other than .npy need Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
STAGES = ("decode", "preprocess", "model", "postprocess")


def decode(content: bytes, suffix: str) -> Any:
    """The bytes of an image file → (H, W, C)."""
    if suffix == ".npy":
        return np.load(io.BytesIO(content), allow_pickle=False)
    from PIL import Image, ImageOps

    image = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    return image[:, :, None] if image.ndim == 2 else image


def preprocess(image: Any) -> Any:
    """(H, W, C) as stored → (1, C, H, W) float32 in 0…1; the model normalises by itself."""
    scaled = image.transpose(2, 0, 1)[None].astype(np.float32)
    scaled /= FULL_SCALE[image.dtype.name]
    return scaled


def postprocess(logits: Any) -> Any:
    """(1, K, H, W) → (H, W) class indices."""
    return logits[0].argmax(axis=0).astype(np.uint8 if logits.shape[1] <= 256 else np.uint16)


def session(path: Path, threads: int) -> Callable[[Any], Any]:
    """A function from images to logits."""
    if path.suffix == ".xml":
        import openvino as ov

        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        compiled = ov.Core().compile_model(str(path), "CPU", settings)
        return lambda images: compiled(images)[compiled.output(0)]
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    runner = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = runner.get_inputs()[0].name
    return lambda images: runner.run(None, {name: images})[0]


def main() -> int:
    """Check, time, print; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--warmup", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the runtime likes")
    parser.add_argument("--image", type=Path, default=HERE / "reference_image.npy")
    parser.add_argument("--min-agreement", type=float, default=0.999, help="share of pixels with the expected label")
    wanted = parser.parse_args()

    described = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
    export = described["export"]
    for name, expected in export["files"].items():
        if hashlib.sha256((HERE / name).read_bytes()).hexdigest() != expected:
            print(f"{name} is not the file that model.json describes: copy the whole folder again.")
            return 1
    run = session(HERE / export["file"], wanted.threads)
    content = wanted.image.read_bytes()
    labels, times = None, []
    for _ in range(wanted.warmup + max(wanted.runs, 1)):
        marks = [time.perf_counter()]
        image = decode(content, wanted.image.suffix.lower())
        marks.append(time.perf_counter())
        images = preprocess(image)
        marks.append(time.perf_counter())
        logits = run(images)
        marks.append(time.perf_counter())
        labels = postprocess(logits)
        marks.append(time.perf_counter())
        times.append(1000 * np.diff(marks))
    assert labels is not None
    table = np.array(times[wanted.warmup :])
    print(f"{export['format']} ({export['file']}), image {labels.shape[0]}×{labels.shape[1]}, {len(table)} runs, ms")
    print(f"{'stage':12}{'p50':>9}{'p95':>9}{'p99':>9}")
    for stage, values in [*zip(STAGES, table.T, strict=True), ("all", table.sum(axis=1))]:
        print(f"{stage:12}" + "".join(f"{np.percentile(values, q):9.2f}" for q in (50, 95, 99)))
    if wanted.image.resolve() != HERE / "reference_image.npy":
        return 0
    same = float((labels == np.load(HERE / "reference_labels.npy", allow_pickle=False)).mean())
    print(f"{100 * same:.3f} % of the reference image's pixels have the expected label")
    if same < wanted.min_agreement:
        print(f"FAILED: at least {100 * wanted.min_agreement:g} % must: this machine does not compute the same model.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
