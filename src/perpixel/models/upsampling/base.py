"""What every upsampling has in common: a choice that makes 2× modules."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn


class Upsampler(nn.Module):
    """Base of the modules that double height and width: (B, C_in, H, W) → (B, C_out, 2H, 2W).

    Every change of resolution inside a decoder goes through one of these, so that a decoder's steps can be counted,
    hooked and compared.
    """


class Upsampling(ABC):
    """How a decoder doubles resolution; architectures ask it for one module per 2× step.

    A member is a frozen dataclass (its fields are the keys of ``conf/decoder/<name>.yaml``) with :meth:`make`.
    """

    @abstractmethod
    def make(self, channels: int, out_channels: int | None = None) -> Upsampler:
        """One 2× step.

        Args:
            channels: C of the input.
            out_channels: C of the output; the input's when None.
        """

    def chain(self, channels: int, factor: int) -> nn.Sequential:
        """``factor``× upsampling as a sequence of 2× steps; empty for a factor of 1.

        Raises:
            ValueError: the factor is no power of two.
        """
        steps = factor.bit_length() - 1
        if factor != 2**steps:
            raise ValueError(f"upsampling goes in steps of 2×, and {factor} is no power of two.")
        return nn.Sequential(*(self.make(channels) for _ in range(steps)))
