"""Taking over another model's weights, as far as they fit."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from perpixel.models.weights import (
    MATCHED_AT_LEAST,
    InputAdaptation,
    adapt_input,
    is_rgb_version,
    match_weights,
    prefixes,
    translated,
)

TRANSFORMERS = {
    "model.pixel_level_module.decoder.": "decoder.pixel_decoder.",
    "model.transformer_module.": "decoder.transformer_module.",
    "class_predictor.": "decoder.class_predictor.",
}
"""How the transformers library's Mask2Former begins the names of the modules that ours shares with it."""

SMP = (
    (r"segmentation_head\.0\.", "head.conv."),
    (r"segmentation_head\.head\.([013])\.", r"head.refine.\1."),  # DPT's
    (r"segmentation_head\.head\.4\.", "head.conv."),
    (r"(decoder\.blocks\.\d+\.block\.1\.0)\.(?!conv\.)", r"\1.conv."),  # Linknet's transposed convolution
)
"""How smp begins names of modules that stand elsewhere in our models; its encoders and decoders have the same names."""

TAKEN_AT_LEAST = 0.5
"""Share of a model's tensors under which taking over is worth a warning: an encoder's alone are more than half."""


@dataclass(frozen=True)
class Transfer:
    """What was taken over and what was left; ``str`` says it in a few lines.

    Attributes:
        taken: tensors of the model that now hold the file's values.
        adapted: those of ``taken`` whose RGB weights were adapted to another number of input channels.
        adaptation: the rule that did it.
        differing: tensors of both, of different shapes, left as they were: name → (the file's shape, the model's).
        missing: tensors of the model that the file has not, left as they were.
        unused: tensors of the file that the model has not.
    """

    taken: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    differing: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    adaptation: InputAdaptation = "repeat"

    @property
    def total(self) -> int:
        """Tensors of the model."""
        return len(self.taken) + len(self.differing) + len(self.missing)

    @property
    def level(self) -> int:
        """At which level of ``logging`` it should be told: a warning where little was taken over."""
        return logging.INFO if len(self.taken) >= TAKEN_AT_LEAST * self.total else logging.WARNING

    def __str__(self) -> str:
        lines = [f"{len(self.taken)} of the model's {self.total} tensors taken over"]
        lines[0] += "" if self.level == logging.INFO else ": is it a model of another architecture or encoder?"
        lines += [f"  adapted to other input channels: {name} (rule: {self.adaptation})" for name in self.adapted]
        lines += [
            f"  left as initialised: {name}, {theirs} in the file and {ours} in the model"
            for name, (theirs, ours) in self.differing.items()
        ]
        lines += [f"  left as initialised, not in the file: {_grouped(self.missing)}"] if self.missing else []
        lines += [f"  in the file only: {_grouped(self.unused)}"] if self.unused else []
        return "\n".join(lines)


def transfer(model: nn.Module, state_dict: Mapping[str, Tensor], adaptation: InputAdaptation = "repeat") -> Transfer:
    """Take over what fits of another model's weights: ``init_from=<run or bundle>``.

    Tensors fit by name and shape; a first convolution for RGB is adapted to another number of input channels. The rest,
    such as the head for another number of classes, stays as it was initialised. A file of the transformers library's
    Mask2Former gives its pixel decoder and transformer; its backbone has other modules than our encoders and is left.
    A model of smp gives its head, too, also from within a LightningModule (``model.encoder.…``).

    Args:
        model: any model; changed in place.
        state_dict: the other model's tensors by name.
        adaptation: the rule for the first convolution, see :func:`perpixel.models.weights.adapt_input`.

    Raises:
        ValueError: not a single tensor fits.
    """
    own = model.state_dict()
    given, state_dict = state_dict, _as_ours(state_dict, own)
    report = Transfer(unused=[name for name in state_dict if name not in own], adaptation=adaptation)
    values: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if name not in state_dict:
            report.missing.append(name)
        elif state_dict[name].shape == tensor.shape:
            values[name] = state_dict[name]
        elif name.startswith("encoder.") and is_rgb_version(tensor, state_dict[name]):
            values[name] = adapt_input(state_dict[name], tensor.shape[1], adaptation)
            report.adapted.append(name)
        else:
            report.differing[name] = (tuple(state_dict[name].shape), tuple(tensor.shape))
    if not values:
        raise ValueError(
            f"init_from: no tensor fits. The model has, for example, {_grouped(list(own))}; "
            f"the file has {_grouped(list(state_dict))}. {_advice(model, given)}"
        )
    report.taken.extend(values)
    model.load_state_dict({**own, **values})
    return report


def _as_ours(source: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors by our names, without what stands before all of them (a LightningModule's ``model.``)."""
    renamed = {_our_name(name, own): tensor for name, tensor in source.items()}
    candidates = ["", *prefixes(renamed, own)]
    matched = {prefix: sum(prefix + name in renamed for name in own) for prefix in candidates}
    prefix = max(matched, key=lambda each: matched[each])
    return {name.removeprefix(prefix): tensor for name, tensor in renamed.items()}


def _our_name(name: str, own: Mapping[str, Tensor]) -> str:
    for theirs, ours in TRANSFORMERS.items():
        if name.startswith(theirs) and (translated_name := ours + name.removeprefix(theirs)) in own:
            return translated_name
    for pattern, replacement in SMP:
        if found := re.search(rf"(?:^|\.){pattern}", name):
            start = found.start() + (name[found.start()] == ".")
            renamed = re.sub(pattern, replacement, name[start:], count=1)
            return name[:start] + renamed if renamed in own else name
    return name


def _advice(model: nn.Module, source: Mapping[str, Tensor]) -> str:
    """What to do with a file that holds the encoder of another project's model, or nothing of the model."""
    encoder = getattr(model, "encoder", None)
    if encoder is not None and encoder.state_dict():
        match = match_weights(encoder, translated(source, encoder), "repeat")
        if match.share >= MATCHED_AT_LEAST:
            return (
                f"Its backbone fits the encoder ({match.matched} tensors): leave init_from out and give the file as "
                f"encoder.weights=<file>, which takes the backbone and leaves the rest."
            )
    return (
        "Is it a model of another architecture? A backbone of torchvision, timm or mmsegmentation, or a whole model "
        "with one, goes to encoder.weights=<file>, with the encoder of that name."
    )


def _grouped(names: list[str], shown: int = 4) -> str:
    """Names by their module, with counts: "head.conv (2), decoder.blocks.0.upsample (2), …"."""
    modules: dict[str, int] = {}
    for name in names:
        module = name.rpartition(".")[0] or name
        modules[module] = modules.get(module, 0) + 1
    listed = [f"{module} ({count})" for module, count in list(modules.items())[:shown]]
    return ", ".join(listed) + (f" and {len(modules) - shown} more modules" if len(modules) > shown else "")
