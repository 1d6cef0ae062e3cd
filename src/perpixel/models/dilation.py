"""Dilated (à trous) encoders: coarse stages computed at a finer stride, with the filters that they were trained with.

A convolution of stride s becomes one of stride 1, and everything behind it is dilated s times. Then the dense map holds
the coarse one: taken at every s-th pixel it is equal to the undilated network's map (the identity of the algorithme à
trous, Holschneider et al. 1989; Chen et al. 2015). For that, the formerly strided convolution itself takes the dilation
of what lies *before* it, and its left and top padding times that dilation; smp's own ``output_stride`` takes the
dilation behind it, and centres it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.encoders import _efficientnet
from timm.layers.blur_pool import BlurPool2d
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from torch import Tensor, nn

from perpixel.models.probe import meta_images, observing, run_on_meta

SIDE = 256
"""Of the image on which strides are measured, in pixels; a multiple of 32."""

COARSEST = 32
"""Stride of an encoder's last map; what is coarser, such as squeeze-and-excitation, is no map."""

PADS_BY_SIZE = (
    Conv2dSame,
    MaxPool2dSame,
    AvgPool2dSame,
    _efficientnet.Conv2dDynamicSamePadding,
)
"""TensorFlow's padding, computed in ``forward`` whatever the module's ``padding`` is."""

CHANNEL_ATTENTION = (
    "SplitAttn",
    "SelectiveKernelAttn",
    "ChannelAttn",
    "LightChannelAttn",
    "CbamModule",
    "LightCbamModule",
)
"""timm's layers that weigh channels by a mean over the map, as squeeze-and-excitation does."""

Pair = tuple[int, int]


class Step(NamedTuple):
    """The strides of the maps that a module takes and gives, in pixels of the image."""

    before: int
    after: int


class Around(NamedTuple):
    """Padding of one map: rows above, rows below, columns left, columns right."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def symmetric(self) -> bool:
        return self.top == self.bottom and self.left == self.right

    def pad(self, features: Tensor, value: float = 0.0, mode: str = "constant") -> Tensor:
        around = [self.left, self.right, self.top, self.bottom]
        return F.pad(features, around, mode, value) if mode == "constant" else F.pad(features, around, mode)


class PadFirst:
    """A forward pre-hook that pads as convolutions and pooling cannot: unevenly, and by more than half a window.

    Args:
        around: the padding.
        value: what to pad with.
    """

    def __init__(self, around: Around, value: float) -> None:
        self.around = around
        self.value = value

    def __call__(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.around.pad(inputs[0], self.value), *inputs[1:])


class DilatedAverage(nn.Module):
    """Average pooling of stride 1 whose window is dilated, which PyTorch's has not: (B, C, H, W) → (B, C, H, W).

    Args:
        kernel: rows and columns of the window.
        dilation: pixels from one of its places to the next.
        around: zeros around the map.
        count_padding: whether these zeros count in the mean.
    """

    def __init__(self, kernel: Pair, dilation: int, around: Around, count_padding: bool) -> None:
        super().__init__()
        self.kernel = kernel
        self.dilation = dilation
        self.around = around
        self.count_padding = count_padding

    def forward(self, features: Tensor) -> Tensor:
        mean = self._mean(features)
        return mean if self.count_padding else mean / self._mean(torch.ones_like(features[:1, :1]))

    def _mean(self, features: Tensor) -> Tensor:
        weight = features.new_full((features.shape[1], 1, *self.kernel), 1 / (self.kernel[0] * self.kernel[1]))
        return F.conv2d(self.around.pad(features), weight, dilation=self.dilation, groups=features.shape[1])


class DilatedBlur(nn.Module):
    """timm's blur before subsampling, dilated and of stride 1: (B, C, H, W) → (B, C, H, W).

    Args:
        blur: timm's module.
        dilation: pixels from one place of its filter to the next.
        around: how far the map is continued in the blur's mode of padding.
    """

    filt: Tensor

    def __init__(self, blur: BlurPool2d, dilation: int, around: Around) -> None:
        super().__init__()
        self.register_buffer("filt", cast(Tensor, blur.filt), persistent=False)
        self.mode = blur.pad_mode
        self.dilation = dilation
        self.around = around

    def forward(self, features: Tensor) -> Tensor:
        weight = self.filt[:1].expand(features.shape[1], -1, -1, -1)
        padded = self.around.pad(features, mode=self.mode)
        return F.conv2d(padded, weight, dilation=self.dilation, groups=features.shape[1])


def refuse_attention(network: nn.Module) -> None:
    """Attention between pixels has no dilated form: with more of them, each is made of others.

    Raises:
        ValueError: the network has such a layer.
    """
    for name, module in network.named_modules():
        kind = type(module).__name__
        if kind not in CHANNEL_ATTENTION and any(part in kind for part in ("Attn", "Attention", "LambdaLayer")):
            raise ValueError(f"its {name} is attention between pixels ({kind}), which has no dilated form")


def dilate(network: nn.Module, in_channels: int, output_stride: int) -> None:
    """Let an encoder's maps be no coarser than 1/``output_stride``, by dilation; changes it in place.

    In evaluation mode, for H and W that are multiples of 32, a map taken at every s-th pixel equals the undilated
    network's, but for what looks at a whole map at once: squeeze-and-excitation averages over more pixels, and batch
    norm counts more of them in training. Parameters and buffers keep their names and values.

    Args:
        network: an undilated encoder: (B, in_channels, H, W) → maps, fine to coarse, with strides of powers of 2.
        in_channels: channels of the images.
        output_stride: 16 or 8.

    Raises:
        ValueError: the network has a layer that cannot be dilated.
    """
    images = meta_images(in_channels, SIDE, SIDE)
    coarse = [each.shape[-2:] for each in run_on_meta(network, images)]
    for name, step in _steps(network, images).items():
        if max(step) > output_stride and step.before <= COARSEST:
            _replace(network, name, step, output_stride)
    dense = [each.shape[-2:] for each in run_on_meta(network, images)]
    finest = SIDE // output_stride
    if dense != [(max(height, finest), max(width, finest)) for height, width in coarse]:
        raise ValueError(f"its maps become {_sizes(dense)} instead of 1/{output_stride} at the coarsest")


def _sizes(maps: list[torch.Size]) -> str:
    return ", ".join(f"1/{SIDE / height:g}" for height, _ in maps)


def _steps(network: nn.Module, images: Tensor) -> dict[str, Step]:
    """Which strides every module with a window lies between, by its name."""
    names = {module: name for name, module in network.named_modules()}
    steps: dict[str, Step] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not _has_window(module) or not isinstance(output, Tensor) or output.ndim != 4:
            return
        step = Step(*(-(-images.shape[-2] // each.shape[-2]) for each in (inputs[0], output)))
        if steps.setdefault(names[module], step) != step:
            raise ValueError(f"its {names[module]} serves maps of several strides")

    with observing(network, note):
        run_on_meta(network, images)
    return steps


def _has_window(module: nn.Module) -> bool:
    """Whether it looks at a pixel's neighbours by itself; blocks that only note the size of their layers do not."""
    looks = hasattr(module, "kernel_size") or isinstance(module, BlurPool2d)
    return looks and not any(hasattr(child, "kernel_size") for child in module.modules() if child is not module)


def _replace(network: nn.Module, name: str, step: Step, output_stride: int) -> None:
    dilation = max(1, step.before // output_stride)
    stride = max(1, min(step.after, output_stride) // min(step.before, output_stride))
    module = network.get_submodule(name)
    for kind, make in MAKERS.items():
        if isinstance(module, kind):
            parent, _, own = name.rpartition(".")
            try:
                setattr(network.get_submodule(parent), own, make(module, dilation, stride))
            except ValueError as error:
                raise ValueError(f"its {name} {error}") from error
            return
    if stride != step.after // step.before or _pair(cast(Any, module).kernel_size) != (1, 1):
        raise ValueError(f"its {name} is a {type(module).__name__}, which has no dilated form here")


def _pair(size: Any) -> Pair:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _atrous_conv(conv: Any, dilation: int, stride: int) -> nn.Module:
    """The same filters for a map ``dilation`` times as dense, given at ``stride``."""
    if conv.padding_mode != "zeros":
        raise ValueError(f"pads by padding_mode={conv.padding_mode}")
    own = _pair(conv.dilation)
    dilations = own[0] * dilation, own[1] * dilation
    around = _around(conv, _pair(conv.kernel_size), dilations, dilation, stride)
    if isinstance(conv, (*PADS_BY_SIZE, _efficientnet.Conv2dStaticSamePadding)):
        conv = _plain(cast(nn.Conv2d, conv))
    elif hasattr(conv, "same_pad"):  # timm's weight-standardised convolutions
        conv.same_pad = False
    conv.stride, conv.dilation = (stride, stride), dilations
    if around.symmetric:
        conv.padding = (around.top, around.left)
    else:
        conv.padding = (0, 0)
        conv.register_forward_pre_hook(PadFirst(around, value=0.0))
    return cast(nn.Module, conv)


def _plain(conv: nn.Conv2d) -> nn.Conv2d:
    """The convolution that pads as its ``padding`` says, with the same parameters."""
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        _pair(conv.kernel_size),
        groups=conv.groups,
        bias=conv.bias is not None,
        device="meta",
    )
    plain.weight, plain.bias = conv.weight, conv.bias
    return plain.train(conv.training)


def _atrous_max(pool: nn.MaxPool2d, dilation: int, stride: int) -> nn.MaxPool2d:
    kernel, own = _pair(pool.kernel_size), _pair(pool.dilation)
    dilations = own[0] * dilation, own[1] * dilation
    around = _around(pool, kernel, dilations, dilation, stride)
    dense = nn.MaxPool2d(kernel, stride, dilation=dilations)
    dense.register_forward_pre_hook(PadFirst(around, value=float("-inf")))  # pooling pads half a window at most
    return dense


def _atrous_average(pool: nn.AvgPool2d, dilation: int, stride: int) -> nn.Module:
    if stride != 1:
        raise ValueError(f"averages at a stride of {stride}")
    kernel = _pair(pool.kernel_size)
    around = _around(pool, kernel, (dilation, dilation), dilation, stride)
    return DilatedAverage(kernel, dilation, around, pool.count_include_pad)


def _atrous_blur(blur: BlurPool2d, dilation: int, stride: int) -> DilatedBlur:
    if stride != 1:
        raise ValueError(f"blurs at a stride of {stride}")
    reach = (blur.filt_size - 1) * dilation
    first = int(cast(Any, blur).padding[0]) * dilation
    return DilatedBlur(blur, dilation, Around(first, reach - first, first, reach - first))


MAKERS: dict[type[nn.Module], Callable[[Any, int, int], nn.Module]] = {
    nn.Conv2d: _atrous_conv,
    nn.MaxPool2d: _atrous_max,
    nn.AvgPool2d: _atrous_average,
    BlurPool2d: _atrous_blur,
}
"""How each kind of module is dilated: (module, dilation, stride) → what takes its place."""


def _around(module: Any, kernel: Pair, dilations: Pair, dilation: int, stride: int) -> Around:
    """The old padding above and left, times the dilation; below and right what a map of 1/``stride`` the size needs."""
    first = [each * dilation for each in _padding_before(module, kernel)]
    total = [max(0, (k - 1) * d + 1 - stride) for k, d in zip(kernel, dilations, strict=True)]
    below, right = (max(0, whole - begin) for whole, begin in zip(total, first, strict=True))
    return Around(first[0], below, first[1], right)


def _padding_before(module: Any, kernel: Pair) -> Pair:
    """Rows above and columns left that the undilated module adds to maps of even size."""
    if isinstance(module, PADS_BY_SIZE) or getattr(module, "same_pad", False):
        stride, own = _pair(module.stride), _pair(getattr(module, "dilation", 1))
        rows, columns = (max(0, (k - 1) * d + 1 - s) // 2 for k, d, s in zip(kernel, own, stride, strict=True))
        return rows, columns
    static = getattr(module, "static_padding", None)
    if isinstance(static, nn.ZeroPad2d):
        left, _, top, _ = static.padding
        return top, left
    if module.padding == "same":
        own = _pair(module.dilation)
        return (kernel[0] - 1) * own[0] // 2, (kernel[1] - 1) * own[1] // 2
    return (0, 0) if module.padding == "valid" else _pair(module.padding)
