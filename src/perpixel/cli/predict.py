"""``predict``: label the images of a file, folder, glob or list with a trained model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf

from perpixel.cli.arguments import checked_jobs, parse, run_hydra


def main() -> None:
    """Check the command line, then label."""
    args = parse()
    if args.multirun:
        sys.exit("perpixel: predict takes one model and one input; -m belongs to train. Parts of it: shard=0/8.")
    if args.hydra_help:
        args.overrides = [*args.overrides, "run=.", "input=.", "output=."]  # who asks for help need not know them
    checked_jobs(args, "predict")
    run_hydra(predict, "predict")


def predict(cfg: DictConfig) -> None:
    """Write masks, and what else is asked for, into the output folder; exit with 1 where files had to be left out.

    Raises:
        ValueError: there is no such model or input, or a setting is impossible.
    """
    _refuse_missing(cfg.input)
    from perpixel.inference.refine import Refinement
    from perpixel.inference.sliding_window import SlidingWindow
    from perpixel.workflows.predict import Request, predict_files
    from perpixel.workflows.predicted_files import Maps

    window = None
    if cfg.window is not None:
        window = SlidingWindow(_pair(cfg.window), cfg.overlap, cfg.blend, cfg.window_batch)
    request = Request(
        models=[Path(path) for path in _several(cfg.run)],
        inputs=cfg.input if isinstance(cfg.input, str) else _several(cfg.input),
        output=Path(cfg.output).expanduser(),
        ids=cfg.ids,
        maps=Maps(cfg.overlays, cfg.confidence, cfg.entropy, cfg.probabilities, cfg.polygons, cfg.polygon_tolerance),
        window=window,
        tta=list(cfg.tta),
        refine=Refinement(**cast(dict[str, Any], OmegaConf.to_container(cfg.refine))),
        smoothing=cfg.smoothing,
        shard=cfg.shard,
        device=cfg.device,
        precision=cfg.precision,
    )
    outcome = predict_files(request)
    if outcome.bad:
        sys.exit(f"perpixel: {len(outcome.bad)} files could not be labelled; they are named in {outcome.list_of_bad}.")


def _refuse_missing(given: Any) -> None:
    """A slip in a path is answered before torch is imported.

    Raises:
        ValueError: nothing is there.
    """
    if (
        isinstance(given, str)
        and given != "-"
        and not set("*?[") & set(given)
        and not Path(given).expanduser().exists()
    ):
        raise ValueError(f"input={given} does not exist: give a file, a folder, a glob in quotes, a .txt list, or - .")


def _several(given: Any) -> Sequence[str]:
    return [str(one) for one in given] if isinstance(given, ListConfig | list) else [str(given)]


def _pair(given: Any) -> tuple[int, int]:
    """A window's height and width from one number or two.

    Raises:
        ValueError: it is something else.
    """
    sides = list(given) if isinstance(given, ListConfig | list) else [given, given]
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise ValueError(f"window={given}: give pixels of a side, window=512, or height and width, window=[512,768].")
    return sides[0], sides[1]
