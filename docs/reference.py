"""Reference pages from the configs: per group every choice with the comments and keys of its YAML, per verb its keys.

They are what ``--help`` prints, so that the pages cannot differ from the program.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import OmegaConf

from perpixel.config.compose import compose
from perpixel.config.help import cfg_groups, help_text
from perpixel.config.paths import conf_dir

INTRODUCTIONS = {
    "data": "Where images and labels come from.",
    "augment": "How training samples are changed. Masks move with their images and are never interpolated.",
    "model": "The architecture: how the encoder's maps become one label a pixel.",
    "encoder": "The network that squeezes the image. Any other of smp or timm is chosen by `encoder.name=`.",
    "decoder": "The upsampling inside the decoder.",
    "loss": "What training minimises.",
    "optimizer": "What moves the weights.",
    "scheduler": "How the learning rate changes with the steps.",
    "trainer": "Lightning's Trainer: devices, precision, length.",
    "logger": "Where scores and pictures go besides the run directory.",
    "evaluation": "What is measured when a split is scored for the record.",
    "export": "Formats that a trained model is written in.",
    "experiment": "Whole recipes.",
}
"""A sentence for each group; one that is missing here is an error, so that no group stays without."""


def write_reference(directory: Path) -> None:
    """Write ``index.md``, one page for each verb and one for each group; pages of before are deleted."""
    directory.mkdir(exist_ok=True)
    for page in directory.glob("*.md"):
        page.unlink()
    verbs = sorted(path.stem for path in conf_dir().glob("*.yaml"))
    owners = {group: verb for verb in ("export", "evaluate", "train") for group in cfg_groups(verb)}
    for verb in verbs:
        (directory / f"verb_{verb}.md").write_text(_verb(verb), encoding="utf-8")
    for group, verb in owners.items():
        (directory / f"{group}.md").write_text(_group(verb, group), encoding="utf-8")
    (directory / "python.md").write_text(_PYTHON, encoding="utf-8")
    (directory / "index.md").write_text(_index(verbs, list(owners)), encoding="utf-8")


def _index(verbs: list[str], groups: list[str]) -> str:
    pages = ["python", *(f"verb_{verb}" for verb in verbs), *groups]
    return "# Reference\n\nMade from the configs and docstrings at each build.\n\n```{toctree}\n:maxdepth: 1\n\n" + (
        "\n".join(pages) + "\n```\n"
    )


def _help(verb: str, typed: list[str]) -> str:
    job = compose(typed, verb, partial=True)
    groups = [item.partition("=")[0] for item in typed]
    return help_text(verb, job.cfg, job.choices, groups, [conf_dir()])


def _verb(verb: str) -> str:
    return f"# `{verb}`\n\n```text\n{_help(verb, [])}\n```\n"


def _group(verb: str, group: str) -> str:
    parts = [f"# `{group}=`\n\n{INTRODUCTIONS[group]}"]
    for file in sorted((conf_dir() / group).glob("*.yaml")):
        keys = _help(verb, [f"{group}={file.stem}"]).partition(f"== {group}={file.stem} ==")[2]
        keys = keys.partition("\n== ")[0].partition("All groups and keys")[0].strip()
        block = f"```yaml\n{keys}\n```" if keys else ""
        parts.append("\n\n".join(part for part in (f"## {file.stem}", block, _doc(file)) if part))
    return "\n\n".join(parts) + "\n"


def _doc(file: Path) -> str:
    """The docstring of the class that the YAML names."""
    cfg = OmegaConf.load(file)
    target = OmegaConf.select(cfg, "_target_") or OmegaConf.select(cfg, "source._target_")
    return f"```{{eval-rst}}\n.. autoclass:: {target}\n   :no-index:\n```" if target else ""


_PYTHON = """# Python

```{eval-rst}
.. autofunction:: perpixel.train
.. autofunction:: perpixel.load
```

## A trained model

```{eval-rst}
.. autoclass:: perpixel.bundle.Predictor
   :members:
.. autoclass:: perpixel.bundle.Prediction
   :members:
.. autoclass:: perpixel.bundle.ModelBundle
   :members: save, load
.. autoclass:: perpixel.spec.ModelSpec
```

## Inference

```{eval-rst}
.. autofunction:: perpixel.inference.sliding_window.sliding_window
```

## Losses and metrics alone

```{eval-rst}
.. automodule:: perpixel.losses
.. autoclass:: perpixel.losses.Loss
   :members:
.. autoclass:: perpixel.metrics.SegmentationMetrics
   :members: update, compute
.. autoclass:: perpixel.labels.LabelSpace
```
"""
