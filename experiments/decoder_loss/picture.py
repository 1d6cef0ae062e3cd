"""The study's picture: the same validation windows, their truth, and what each run of a sweep made of them.

python experiments/decoder_loss/picture.py <sweep directory> <picture.png>
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from perpixel.reporting.pictures import panels
from perpixel.tracking.runs import load_sweep

ROWS = 5


def main(sweep_directory: Path, out: Path) -> None:
    sweep = load_sweep(sweep_directory)
    runs = [run for run in sweep.runs if run.status == "finished"]
    samples = sorted(set.intersection(*(set(run.overlays) for run in runs)))[:ROWS]
    figure = Figure(figsize=(2 * (len(runs) + 2), 2.05 * len(samples) + 0.6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(samples), len(runs) + 2, squeeze=False)
    for row, sample in zip(axes, samples, strict=True):
        strips = [panels(np.asarray(Image.open(run.overlays[sample]).convert("RGB"))) for run in runs]
        for axis, picture in zip(row, [strips[0][0], strips[0][1], *(strip[2] for strip in strips)], strict=True):
            axis.imshow(picture)
            axis.set_axis_off()
    titles = ["image", "truth", *(f"{sweep.label(run)}\nval mIoU {run.score('val', 'mIoU'):.3f}" for run in runs)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    first = runs[0]
    handles = [
        Patch(color=np.array(rgb) / 255, label=name) for name, rgb in zip(first.classes, first.palette, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9, frameon=False)
    figure.savefig(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
