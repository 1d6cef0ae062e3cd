"""Which encoder a model is built on: any that smp or timm names, with weights from where you say."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast, get_args

import timm
import torch
from segmentation_models_pytorch.encoders import TimmViTEncoder, get_encoder, is_equivalent_to_timm_universal
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from segmentation_models_pytorch.encoders._efficientnet import EfficientNet as EfficientNetPytorch
from torch import nn

from perpixel.models.base import forked_rng
from perpixel.models.dilation import COARSEST, dilate, refuse_attention
from perpixel.models.probe import evaluating, meta_images, run_on_meta
from perpixel.models.weight_files import read_weights
from perpixel.models.weights import InputAdaptation, load_weights, resample_vit
from perpixel.spec import Normalise

DEPTH = 5
"""Stages of a whole encoder: its coarsest map lies at 1/32."""

PATCH = 16
"""Side of a vision transformer's patches: a power of two, so that 2× steps lead back to the pixels."""


IMAGENET = Normalise((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Normalise((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
HALVED = ("inceptionresnetv2", "inceptionv4", "xception")
"""Of smp's own encoders, those whose weights expect images in −1…1."""


class EncoderNetwork(nn.Module):
    """What smp's and timm's encoders have in common, for type checkers."""

    out_channels: list[int]


class VisionTransformer(EncoderNetwork):
    """smp's wrapper of timm's plain vision transformers, for type checkers."""

    model: Any
    output_strides: list[int]
    _output_indices: list[int]
    has_prefix_tokens: bool


@dataclass(frozen=True)
class Encoder:
    """An encoder to build; the keys of ``conf/encoder/<name>.yaml``.

    Args:
        name: an encoder of smp (``resnet34``, ``mit_b0``), or any model of timm that gives feature maps
            (``convnext_tiny``, ``regnety_004``).
        weights: "none" (random), "imagenet" (downloaded as smp and timm do), a file, or
            "package:<module>/<file>" for a file inside an installed Python package.
        sha256: if given, the file must have this hash, checked before it is read.
        input_adaptation: how weights for RGB become weights for another number of channels, see
            :func:`perpixel.models.weights.adapt_input`.

    Raises:
        ValueError: a hash without a file, or an unknown rule.
    """

    name: str
    weights: str = "none"
    sha256: str | None = None
    input_adaptation: InputAdaptation = "repeat"

    def __post_init__(self) -> None:
        if self.sha256 is not None and self.weights in ("none", "imagenet"):
            raise ValueError(
                f"encoder.sha256={self.sha256} pins a file, and encoder.weights={self.weights} names none. "
                f"Give encoder.weights=<file>, or encoder.sha256=null."
            )
        if self.input_adaptation not in get_args(InputAdaptation):
            raise ValueError(
                f"encoder.input_adaptation={self.input_adaptation}: choose {', '.join(get_args(InputAdaptation))}."
            )

    def normalisation(self) -> Normalise | None:
        """Mean and deviation of the images that the pretrained weights were trained on; None for random weights.

        A file's weights are taken for those of the architecture: what timm publishes for it, else ImageNet's.
        """
        if self.weights == "none":
            return None
        name = resolve(self.name).removeprefix("tu-").removeprefix("timm-")
        published = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
        if published is not None:
            return Normalise(tuple(published.mean), tuple(published.std))
        return HALF if name in HALVED else IMAGENET

    def build(self, in_channels: int = 3, depth: int = 5, output_stride: int = 32) -> EncoderNetwork:
        """The network: (B, in_channels, H, W) → ``depth`` + 1 feature maps, fine to coarse; the first is the image.

        Its ``out_channels`` lists their channels. A vision transformer that starts at 1/4 gives a map of 0 channels
        at 1/2.

        Args:
            in_channels: channels of the images.
            depth: stages; the coarsest map lies at 1/2^depth.
            output_stride: 32, or 16 or 8 to dilate the last stages instead of striding them.

        Raises:
            ValueError: no such encoder (the nearest five are named), it cannot be built so, or its weights do not fit.
        """
        name = resolve(self.name)
        self._refuse_fixed_size(name)
        network = self._construct(name, in_channels, depth)
        self._refuse_uneven(network, in_channels)
        if depth < DEPTH:
            self._cut(network, in_channels, depth)
        else:
            remove_leftovers(network)
        if output_stride < COARSEST:
            self._dilate(network, name, in_channels, output_stride)
        if self.weights != "none":
            if self.weights == "imagenet":
                source = self._fetched(lambda: self._construct(name, 3, depth, weights="imagenet"))
            else:
                source = read_weights(self.weights, self.sha256)
            whole = self._whole(name)
            load_weights(network, source, f"{self.name} from {self.weights}", self.input_adaptation, whole)
        return network

    def is_vit(self) -> bool:
        """Whether it is a plain vision transformer, for :meth:`build_vit`; all others are for :meth:`build`."""
        name = resolve(self.name).removeprefix("tu-").partition(".")[0]
        return bool(timm.models.is_model_in_modules(name, ["vision_transformer", "eva"]))

    def build_vit(self, in_channels: int = 3, levels: int = 4, norm: bool = False) -> VisionTransformer:
        """A plain vision transformer: (B, in_channels, H, W) → ``levels`` maps at 1/16, and each one's prefix tokens.

        The maps come from blocks at equal distances, the last one included. Any H and W that are multiples of 16 will
        do.

        Args:
            in_channels: channels of the images.
            levels: how many maps.
            norm: keep the final layer norm as ``model.norm``, for whoever applies it to the maps.

        Raises:
            ValueError: no such encoder, it is no plain vision transformer, or its weights do not fit.
        """
        name = resolve(self.name).removeprefix("tu-")
        network = self._construct_vit(name, in_channels, levels)
        # Parameters that nothing calls would stop distributed training.
        network.model.prune_intermediate_layers(network._output_indices, prune_norm=not norm, prune_head=True)
        if self.weights != "none":
            self._load_vit(network, name, levels)
        return network

    def refuse(self, model: str, instead: str) -> None:
        """Called by a model that brings its own encoder: a chosen one must not be ignored in silence.

        Raises:
            ValueError: always; only :class:`NoEncoder` passes.
        """
        raise ValueError(
            f"{model} brings its own encoder, so encoder '{self.name}' would go unused. "
            f"Leave encoder= out (or encoder=none), or use {instead}."
        )

    def _refuse_fixed_size(self, name: str) -> None:
        config = timm.get_pretrained_cfg(name.removeprefix("tu-")) if name.startswith("tu-") else None
        if config is not None and config.fixed_input_size:
            raise ValueError(
                f"encoder '{self.name}' takes images of {config.input_size[1]}×{config.input_size[2]} pixels only. "
                f"Vision transformers go with model=dpt and model=linear; other models need an encoder for any size "
                f"(encoder=mit_b0)."
            )

    def _construct(
        self, name: str, in_channels: int, depth: int, output_stride: int = COARSEST, weights: str | None = None
    ) -> EncoderNetwork:
        try:
            with warnings.catch_warnings():
                # smp advises tu-… instead of its timm-…; the two differ in padding, and the choice is the user's.
                warnings.simplefilter("ignore", DeprecationWarning)
                return cast(EncoderNetwork, get_encoder(name, in_channels, depth, weights, output_stride))
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise ValueError(
                f"encoder '{self.name}' cannot be built with in_channels={in_channels}, depth={depth}, "
                f"output_stride={output_stride}, weights={weights or 'none'}: {error}"
            ) from error

    def _refuse_uneven(self, network: EncoderNetwork, in_channels: int) -> None:
        """Its maps must lie at 1/2, 1/4 … of an image, or no decoder could put them together."""
        height, width = 128, 160
        try:
            maps = run_on_meta(network, meta_images(in_channels, height, width))
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
            raise ValueError(
                f"encoder '{self.name}' cannot run on images of {height}×{width} pixels: {error}. "
                f"Use an encoder that takes any multiple of 32, such as encoder=resnet50 or encoder=efficientnet_b0."
            ) from error
        found = [tuple(each.shape[-2:]) for each in maps]
        wanted = [(height >> level, width >> level) for level in range(len(found))]
        if found != wanted:
            level = next(level for level, sizes in enumerate(zip(found, wanted, strict=True)) if sizes[0] != sizes[1])
            given, needed = found[level], wanted[level]
            raise ValueError(
                f"encoder '{self.name}' gives a map of {given[0]}×{given[1]} pixels where 1/{2**level} of "
                f"{height}×{width} is {needed[0]}×{needed[1]}, so that no decoder here fits it (it does not pad its "
                f"convolutions, or has other strides). Use another encoder, such as encoder=resnet50."
            )

    def _whole(self, name: str) -> list[str]:
        """The tensors of the network of which the encoder is a part, classifier included where timm has it."""
        with forked_rng(), torch.device("meta"):
            try:
                own = timm.create_model(name.removeprefix("tu-")) if name.startswith("tu-") else None
                return [*self._construct(name, 3, DEPTH).state_dict(), *(own.state_dict() if own else ())]
            except (ValueError, RuntimeError):  # some draw numbers while they are built
                return []

    def _dilate(self, network: EncoderNetwork, name: str, in_channels: int, output_stride: int) -> None:
        try:
            refuse_attention(network)
            with forked_rng(), torch.device("meta"):
                self._construct(name, in_channels, DEPTH, output_stride)  # smp or timm may have no dilated form
            dilate(network, in_channels, output_stride)
        except ValueError as error:
            raise ValueError(
                f"encoder '{self.name}' cannot be built with output_stride={output_stride}: {error}. "
                f"Use encoder=resnet50, or a model without model.output_stride."
            ) from error

    def _cut(self, network: EncoderNetwork, in_channels: int, depth: int) -> None:
        remove_unused(network, in_channels)
        try:
            run_on_meta(network, meta_images(in_channels))
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"encoder '{self.name}' cannot be cut at depth={depth}: it runs on beyond its maps, and nothing would "
                f"train what lies there. Set model.depth={DEPTH}, or use another encoder."
            ) from error

    def _construct_vit(self, name: str, in_channels: int, levels: int, pretrained: bool = False) -> VisionTransformer:
        options = {"patch_size": PATCH, "dynamic_img_size": True}
        try:
            network = TimmViTEncoder(name, pretrained=pretrained, in_channels=in_channels, depth=levels, **options)
        except (ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(
                f"encoder '{self.name}' is no plain vision transformer ({error}). "
                f"Use encoder=dinov3_vits16 or encoder=dinov2_vits14, or another model."
            ) from error
        if set(network.output_strides) != {PATCH}:
            raise ValueError(
                f"encoder '{self.name}' has levels at strides {sorted(set(network.output_strides))}, and model=dpt "
                f"builds them from one of {PATCH}. Use encoder=dinov3_vits16, or another model."
            )
        return cast(VisionTransformer, network)

    def _load_vit(self, network: VisionTransformer, name: str, levels: int) -> None:
        known: list[str] = []
        if self.weights == "imagenet":
            source = self._fetched(lambda: self._construct_vit(name, 3, levels, pretrained=True))
        else:
            source, known = resample_vit(read_weights(self.weights, self.sha256), network)
        load_weights(network, source, f"{self.name} from {self.weights}", self.input_adaptation, known)

    def _fetched(self, construct: Callable[[], nn.Module]) -> dict[str, torch.Tensor]:
        """The weights of a network that ``construct`` builds with a download; it was built without one before."""
        try:
            return dict(construct().state_dict())
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"encoder.weights=imagenet: the weights of '{self.name}' could not be fetched "
                f"({error.__cause__ or error}). Set "
                f"encoder.weights=<file> to load a local copy, or encoder.weights=none to start from random weights."
            ) from error


class NoEncoder(Encoder):
    """``encoder=none``: for models that bring their own."""

    def __init__(self) -> None:
        super().__init__(name="none")

    def build(self, in_channels: int = 3, depth: int = 5, output_stride: int = 32) -> EncoderNetwork:
        """Raises ValueError: the model wants an encoder and none was chosen."""
        raise ValueError("this model is built on an encoder, and encoder=none gives none. Try encoder=resnet18.")

    def build_vit(self, in_channels: int = 3, levels: int = 4, norm: bool = False) -> VisionTransformer:
        """Raises ValueError: the model wants a vision transformer and none was chosen."""
        raise ValueError(
            "this model is built on a vision transformer, and encoder=none gives none. Leave encoder= out."
        )

    def refuse(self, model: str, instead: str) -> None:
        """No encoder was chosen, so none goes unused."""


def resolve(name: str) -> str:
    """The name by which smp builds an encoder: its own, or ``tu-<name>`` for a model of timm.

    Raises:
        ValueError: neither knows it; the nearest five are named.
    """
    if ":" in name:  # timm's hf-hub: and local-dir: bring a description and weights of their own
        raise ValueError(
            f"encoder.name={name}: give a name that smp or timm knows; files go to encoder.weights=<file>."
        )
    bare = name.removeprefix("tu-").removeprefix("timm-")
    known = timm.is_model(bare.partition(".")[0])
    if name in smp_encoders or (known and name.startswith("tu-")) or _smp_renames(name):
        return name
    if known:
        return f"tu-{bare}"
    near = get_close_matches(bare, sorted({*smp_encoders, *timm.list_models()}), n=5, cutoff=0.0)
    raise ValueError(f"encoder.name={name}: neither smp nor timm has it. The nearest are {', '.join(near)}.")


def _smp_renames(name: str) -> bool:
    """Whether it is one of smp's old ``timm-`` names that stand for a model of timm."""
    bare = name.removeprefix("timm-")
    return is_equivalent_to_timm_universal(name) and (timm.is_model(bare) or timm.is_model(f"tf_{bare}"))


def remove_leftovers(network: nn.Module) -> None:
    """Delete the convolution before the classifier, which smp's EfficientNets keep and never call.

    Unused parameters cost memory and optimiser time, and distributed training stops where they get no gradient.
    """
    if isinstance(network, timm.models.EfficientNet | EfficientNetPytorch):
        for name in ("conv_head", "bn2", "_conv_head", "_bn1"):
            if hasattr(network, name):
                delattr(network, name)


class PassOn(nn.Module):
    """Stands where a module was whose result nothing uses: whatever it is given first, it gives back."""

    def forward(self, features: Any, *_: Any) -> Any:
        return features


def remove_unused(network: nn.Module, in_channels: int) -> None:
    """Remove whatever no returned map depends on, such as the stages beyond a smaller ``depth``.

    smp's and timm's EfficientNets and MobileNets run some of these stages and drop the result, so that what is called
    tells too little: the maps' gradients tell. Each goes for a :class:`PassOn`, so that places and lengths of lists
    (stochastic depth grows with a block's place) stay as they are.
    """
    images = meta_images(in_channels)
    state = {name: parameter.detach().to("meta").requires_grad_() for name, parameter in network.named_parameters()}
    buffers = {name: buffer.to("meta") for name, buffer in network.named_buffers()}
    with torch.enable_grad(), evaluating(network):
        maps = torch.func.functional_call(network, {**state, **buffers}, (images,))
    ends = [each for each in maps if each.requires_grad]
    gradients = torch.autograd.grad(
        ends, list(state.values()), [torch.empty_like(each) for each in ends], allow_unused=True
    )
    used = {name for name, gradient in zip(state, gradients, strict=True) if gradient is not None}
    _replace_all_but(used, network)


def _replace_all_but(used: set[str], parent: nn.Module, prefix: str = "") -> None:
    for name, child in list(parent.named_children()):
        own = {f"{prefix}{name}.{key}" for key, _ in child.named_parameters()}
        listed = isinstance(child, nn.ModuleList | nn.ModuleDict)  # which their owners loop over, or look into
        if own and own.isdisjoint(used) and not listed:
            setattr(parent, name, PassOn())
        else:
            _replace_all_but(used, child, f"{prefix}{name}.")
