"""A file's weights into encoders: many key layouts, any number of input channels, and an account of what matched."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.models import vision_transformer
from torch import Tensor, nn

from perpixel.models.mit_names import as_smps_mit

logger = logging.getLogger(__name__)

InputAdaptation = Literal["repeat", "mean", "copy-first"]

MATCHED_AT_LEAST = 0.9
"""Share of an encoder's tensors that a file must fill; below it the file is taken for another network's."""

PREFIXES = (
    "",
    "model.",
    "module.",
    "encoder.",
    "encoder.model.",
    "model.encoder.",  # a LightningModule around a model of smp
    "model.encoder.model.",
    "backbone.",
    "state_dict.",
    "module.encoder_q.",  # MoCo, He et al. 2020
    "module.base_encoder.",  # MoCo v3
    "teacher.backbone.",  # DINO, Caron et al. 2021, flattened
    "module.backbone.",
)
"""What other projects put before a backbone's keys, most wanted first; any other prefix is found, too."""

PREFIXES_TRIED = 8
"""Of those found in a file, the most frequent are tried."""

MEASUREMENTS = ("num_batches_tracked", "total_ops", "total_params")
"""Buffers that count batches (batch norm) or operations (thop): they are no weights."""


def prefixes(source: Iterable[str], wanted: Collection[str]) -> list[str]:
    """What may stand before the wanted names in a file: :data:`PREFIXES`, then those found, most frequent first."""
    found: Counter[str] = Counter()
    for name in source:
        parts = name.split(".")
        for cut in range(1, len(parts)):
            if ".".join(parts[cut:]) in wanted:
                found[".".join(parts[:cut]) + "."] += 1
    return list(dict.fromkeys([*PREFIXES, *(prefix for prefix, _ in found.most_common(PREFIXES_TRIED))]))


def resample_vit(source: Mapping[str, Tensor], network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """A vision transformer's weights with patches and position embedding resampled to the network's.

    The filter that timm keeps for the network's class does it, as for its own downloads: patches by the pseudo-inverse
    of their resize (Beyer et al. 2023), positions by bicubic interpolation. It also knows the key names that DINO,
    DINOv2 and DINOv3 were published with.

    Args:
        source: tensors by name, with any of :data:`PREFIXES`.
        network: smp's wrapper, with timm's network as ``model``.

    Returns:
        tensors by timm's names behind the file's prefix, and for the account of what matched those that the filter
        leaves out; and the names of the latter.

    Raises:
        ValueError: the filter cannot read the file.
    """
    model: Any = network.model
    keep = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", vision_transformer.checkpoint_filter_fn)
    prefix = _vit_prefix(source)
    bare = {name.removeprefix(prefix): tensor for name, tensor in source.items() if name.startswith(prefix)}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints each bias that the network has not
            kept = dict(keep(bare, model))
    except (RuntimeError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"encoder.weights: the file's tensors cannot be fitted to {type(model).__name__} ({error!r}). "
            f"Is it the file of another architecture?"
        ) from error
    dropped = _dropped(source, prefix, kept)
    return {**dropped, **{prefix + name: tensor for name, tensor in kept.items()}}, list(dropped)


def _vit_prefix(source: Mapping[str, Tensor]) -> str:
    """timm's filters look for whole names, so that what others put before them must go first."""
    anchor = "patch_embed.proj.weight"
    return next((prefix for prefix in prefixes(source, [anchor]) if prefix + anchor in source), "")


def _dropped(source: Mapping[str, Tensor], prefix: str, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the filter left out: neither renamed (the same tensor) nor resampled (the same name)."""
    renamed = {id(tensor) for tensor in kept.values()}
    return {
        name: tensor
        for name, tensor in source.items()
        if id(tensor) not in renamed and not (name.startswith(prefix) and name.removeprefix(prefix) in kept)
    }


@dataclass(frozen=True)
class Match:
    """What a file fills of a network; batch norm's step counters, which old files lack, count for nothing.

    Attributes:
        tensors: the network's name → the file's tensor, adapted where it was for RGB.
        missing: tensors of the network that the file does not fill.
        unexpected: tensors of the file that fill nothing, by the file's names.
        layout: how the file names its tensors.
        prefix: what stands before the encoder's names in the file.
        adapted: those of ``tensors`` that were adapted from RGB.
        differing: those of ``missing`` that the file has in another shape, with that shape.
    """

    tensors: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    layout: str
    prefix: str
    adapted: list[str]
    differing: dict[str, tuple[int, ...]]

    @property
    def matched(self) -> int:
        return sum(not _counts_steps(name) for name in self.tensors)

    @property
    def share(self) -> float:
        return self.matched / max(1, self.matched + len(self.missing))

    def __str__(self) -> str:
        return f"{self.matched} matched, {len(self.missing)} missing, {len(self.unexpected)} unexpected"


def _counts_steps(name: str) -> bool:
    return name.rpartition(".")[2] == "num_batches_tracked"


def load_weights(
    network: nn.Module,
    source: Mapping[str, Tensor],
    description: str,
    adaptation: InputAdaptation = "repeat",
    whole: Collection[str] = (),
) -> Match:
    """Load a file's tensors into an encoder and log what matched.

    Args:
        network: the encoder, built for any number of input channels.
        source: tensors by name, in any known layout.
        description: "<encoder> from <file>", for log and error.
        adaptation: how the first convolution's RGB weights serve another number of channels.
        whole: tensors of the whole network of which this is a part; a file may have them, too.

    Raises:
        ValueError: under 90 % of the encoder's tensors matched; examples of both sides are shown. Or all did but the
            position embedding, without which a vision transformer's weights are worth nothing. Or the file has more
            of what the encoder is made of, such as further blocks of a stage: it is a deeper network's.
    """
    source = translated(source, network)
    match = match_weights(network, source, adaptation)
    positions = [name for name in match.missing if name.rpartition(".")[2] == "pos_embed"]
    if match.share < MATCHED_AT_LEAST:
        raise ValueError(
            f"{description}: {match}, and {MATCHED_AT_LEAST:.0%} of the encoder's tensors must match. "
            f"The encoder has, for example, {_examples(match.missing)}; the file has {_examples(match.unexpected)}. "
            f"Is it the file of another architecture?"
        )
    if positions:
        raise ValueError(
            f"{description}: {match}, and {positions[0]} is among the missing: the position embedding would stay "
            f"random. The file has {_examples(match.unexpected)} that the encoder has not."
        )
    if surplus := _surplus(match, source, whole):
        raise ValueError(
            f"{description}: {match}. The file has {len(surplus)} tensors more in the encoder's own stages "
            f"({_examples(surplus)}): it is the file of a deeper network or of another variant. Set encoder.name to "
            f"that network, or encoder.weights to a file of '{description.partition(' ')[0]}'."
        )
    network.load_state_dict({**network.state_dict(), **match.tensors})
    logger.info("%s: %s (%s)", description, match, match.layout)
    for name in match.adapted:
        channels = match.tensors[name].shape[1]
        logger.info("  %s: from 3 to %d input channels by encoder.input_adaptation=%s", name, channels, adaptation)
    if match.unexpected:
        logger.info("  unexpected: %s", _examples(match.unexpected))
    if match.missing:
        logger.warning("%s: left random, because missing in the file: %s", description, _told(match, network))
    return match


def _surplus(match: Match, source: Mapping[str, Tensor], whole: Collection[str]) -> list[str]:
    """Tensors that fill nothing although they lie in the same modules as those that do.

    A classifier, a decoder or a second copy lies in modules of its own.
    """
    unexpected = set(match.unexpected)
    used = {module for name in source if name not in unexpected for module in _modules(name)}
    known = {match.prefix + name.removeprefix(own) for name in whole for own in ("", "model.")}
    return [
        name
        for name in match.unexpected
        if name.startswith(match.prefix)
        and name not in known
        and name.rpartition(".")[2] not in MEASUREMENTS
        and any(module in used and len(module) >= len(match.prefix) for module in _modules(name))
    ]


def _modules(name: str) -> list[str]:
    """The modules that a tensor lies in: "layer1.0.conv1.weight" → layer1, layer1.0, layer1.0.conv1."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _told(match: Match, network: nn.Module) -> str:
    """The missing, first those that the file has in another shape, such as a stem for other channels than RGB."""
    own = network.state_dict()
    shapes = [f"{name} ({theirs} there, {tuple(own[name].shape)} here)" for name, theirs in match.differing.items()]
    return _examples(shapes + [name for name in match.missing if name not in match.differing])


def translated(source: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """A file's tensors by the network's names where another project has named the same network's parts otherwise."""
    is_mit = "patch_embed1.proj.weight" in network.state_dict()
    return as_smps_mit(source) if is_mit else source


def match_weights(network: nn.Module, source: Mapping[str, Tensor], adaptation: InputAdaptation) -> Match:
    """The best match over all known layouts: names without a prefix, or else the same shapes in the same order."""
    wanted = network.state_dict()
    own = "model." if all(name.startswith("model.") for name in wanted) else ""  # smp's timm encoders
    bare = {name.removeprefix(own) for name in wanted}
    layouts = {f"prefix '{prefix}'": (prefix, _renamed(source, prefix, own)) for prefix in prefixes(source, bare)}
    in_order = _in_order(source, wanted)
    layouts["by order"] = (_common_prefix(in_order.values()), in_order)
    matches = [_match(wanted, source, names, adaptation, layout, at) for layout, (at, names) in layouts.items()]
    return max(matches, key=lambda match: len(match.tensors))


def _renamed(source: Mapping[str, Tensor], prefix: str, own: str) -> dict[str, str]:
    """The network's names for the file's, without ``prefix``; all of its own begin with ``own``.

    Returns:
        the network's name → the file's.
    """
    return {own + name.removeprefix(prefix): name for name in source if name.startswith(prefix)}


def _common_prefix(names: Collection[str]) -> str:
    """The modules in which all tensors lie: "features." of torchvision's."""
    first, last = min(names, default=""), max(names, default="")
    same = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(first.split(".")[:-1], last.split("."), strict=False)
    )
    return "".join(f"{part}." for part, _ in same)


def _in_order(source: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Pair names by position if all shapes agree, as for the same network under other names."""
    pairs = list(zip(wanted, source, strict=False))
    same = len(source) >= len(wanted) and all(
        _fits(wanted[own], _shaped(source[name], wanted[own])) for own, name in pairs
    )
    return dict(pairs) if same else {}


def _shaped(tensor: Tensor, wanted: Tensor) -> Tensor:
    """Sides of length 1 do not count: torchvision's ConvNeXt keeps (C, 1, 1) where timm's keeps (C)."""
    return tensor.reshape(wanted.shape) if tensor.squeeze().shape == wanted.squeeze().shape else tensor


def _match(
    wanted: Mapping[str, Tensor],
    source: Mapping[str, Tensor],
    names: Mapping[str, str],
    adaptation: InputAdaptation,
    layout: str,
    prefix: str,
) -> Match:
    """What a file fills if its tensors ``names`` (the network's name → the file's) are the network's."""
    offered = {own: _shaped(source[names[own]], tensor) for own, tensor in wanted.items() if own in names}
    fitting = {own: tensor for own, tensor in offered.items() if _fits(wanted[own], tensor)}
    tensors = {own: _adapted(tensor, wanted[own], adaptation) for own, tensor in fitting.items()}
    missing = [own for own in wanted if own not in tensors and not _counts_steps(own)]
    filling = {names[own] for own in tensors}
    return Match(
        tensors,
        missing,
        unexpected=[name for name in source if name not in filling],
        layout=layout,
        prefix=prefix,
        adapted=[own for own, tensor in tensors.items() if tensor.shape != fitting[own].shape],
        differing={own: tuple(offered[own].shape) for own in missing if own in offered},
    )


def _fits(wanted: Tensor, offered: Tensor) -> bool:
    return wanted.shape == offered.shape or is_rgb_version(wanted, offered)


def is_rgb_version(wanted: Tensor, offered: Tensor) -> bool:
    """Whether ``offered`` is the same convolution for three input channels."""
    shapes_agree = wanted.ndim == offered.ndim == 4 and wanted.shape[0] == offered.shape[0]
    return shapes_agree and wanted.shape[2:] == offered.shape[2:] and offered.shape[1] == 3 and wanted.shape[1] != 3


def _adapted(tensor: Tensor, wanted: Tensor, adaptation: InputAdaptation) -> Tensor:
    return tensor if tensor.shape == wanted.shape else adapt_input(tensor, wanted.shape[1], adaptation)


def adapt_input(weight: Tensor, channels: int, rule: InputAdaptation) -> Tensor:
    """The first convolution's RGB weights for another number of input channels.

    The factor 3/N of the first two rules keeps the size of the response when all channels carry similar values.

    Args:
        weight: (C_out, 3, k, k).
        channels: N, the input channels wanted.
        rule: "repeat": channel i takes RGB channel i mod 3, times 3/N, and a single channel the sum of the three (as
            timm and smp do); "mean": each channel takes the mean over RGB, times 3/N; "copy-first": the first three
            are copied and further ones begin at zero, so that the network first sees what it was trained on.

    Returns:
        (C_out, N, k, k).
    """
    if rule == "mean" or (rule == "repeat" and channels == 1):
        return weight.mean(dim=1, keepdim=True).repeat(1, channels, 1, 1) * (3 / channels)
    if rule == "repeat":
        return weight[:, torch.arange(channels) % 3] * (3 / channels)
    copied = weight[:, :channels]
    return torch.cat([copied, weight.new_zeros(len(weight), channels - copied.shape[1], *weight.shape[2:])], dim=1)


def _examples(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "") if names else "nothing more"
