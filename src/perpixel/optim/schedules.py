"""Learning-rate schedules: pure functions from the optimiser step to a factor of the base learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch.optim.lr_scheduler import LambdaLR

from perpixel.optim.ranges import within


class Schedule(ABC):
    """A factor of the learning rate for every optimiser step.

    Args:
        warmup_steps: the first steps, in which the factor rises linearly from ``warmup_start`` to where the curve
            begins.
        warmup_start: factor at step 0 when there is a warm-up, in 0…1.

    Raises:
        ValueError: a negative number of steps, or a factor outside its range.
    """

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0) -> None:
        self.warmup_steps = int(within("scheduler.warmup_steps", warmup_steps, 0, math.inf, "a number of steps"))
        self.warmup_start = within("scheduler.warmup_start", warmup_start, 0, 1, "a share of optimizer.lr")

    @abstractmethod
    def curve(self, progress: float) -> float:
        """The factor after the warm-up; ``progress`` runs from 0 at its first step to 1 at the run's last."""

    def factor(self, step: int, total: int) -> float:
        """The factor at optimiser step ``step`` (from 0) of ``total``."""
        if step < self.warmup_steps:
            share = step / self.warmup_steps
            return self.warmup_start + share * (self.curve(0.0) - self.warmup_start)
        last = max(total - 1 - self.warmup_steps, 1)
        return self.curve(min((step - self.warmup_steps) / last, 1.0))

    def __call__(self, optimizer: torch.optim.Optimizer, total_steps: int) -> LambdaLR:
        """A scheduler to be stepped once per optimiser step.

        Raises:
            ValueError: the warm-up does not end within the run.
        """
        if 0 < total_steps <= self.warmup_steps:
            raise ValueError(
                f"scheduler.warmup_steps={self.warmup_steps}: the run has only {total_steps} optimiser steps; "
                f"shorten the warm-up or train longer."
            )
        return LambdaLR(optimizer, lambda step: self.factor(step, total_steps))


class Constant(Schedule):
    """The base learning rate throughout."""

    def curve(self, progress: float) -> float:
        return 1.0


class Cosine(Schedule):
    """Half a cosine from 1 to ``end``, in 0…1 (Loshchilov & Hutter 2017, one cycle)."""

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0, end: float = 0.0) -> None:
        super().__init__(warmup_steps, warmup_start)
        self.end = within("scheduler.end", end, 0, 1, "a share of optimizer.lr")

    def curve(self, progress: float) -> float:
        return _cosine(1.0, self.end, progress)


class OneCycle(Schedule):
    """Cosine rise from ``start`` to 1 over the first ``rise`` of the run, cosine fall to ``end`` (Smith & Topin 2018).

    torch's ``OneCycleLR(max_lr=optimizer.lr)`` starts and ends at the same rates and differs in two things. It turns
    at step ``rise``·total − 1, this one at ``rise``·(total − 1), up to a step later. And it moves the momentum (Adam's
    first beta) between 0.95 and 0.85 against the rate; here it stays as ``optimizer`` has it, as with torch's
    ``cycle_momentum=False``. ``end`` is a share of the peak; torch's ``final_div_factor`` divides the start.

    Raises:
        ValueError: ``rise``, ``start`` or ``end`` outside 0…1.
    """

    def __init__(
        self,
        warmup_steps: int = 0,
        warmup_start: float = 0.0,
        rise: float = 0.3,
        start: float = 0.04,
        end: float = 4e-6,
    ) -> None:
        super().__init__(warmup_steps, warmup_start)
        self.rise = within("scheduler.rise", rise, 0, 1, "a share of the run")
        self.start = within("scheduler.start", start, 0, 1, "a share of optimizer.lr")
        self.end = within("scheduler.end", end, 0, 1, "a share of optimizer.lr")

    def curve(self, progress: float) -> float:
        if progress < self.rise:
            return _cosine(self.start, 1.0, progress / self.rise)
        return _cosine(1.0, self.end, (progress - self.rise) / max(1.0 - self.rise, 1e-12))


class Poly(Schedule):
    """(1 − progress)^power, the schedule of DeepLab (Chen et al. 2017); ``power`` is 0 or more."""

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0, power: float = 0.9) -> None:
        super().__init__(warmup_steps, warmup_start)
        self.power = within("scheduler.power", power, 0, math.inf, "an exponent")

    def curve(self, progress: float) -> float:
        return float((1.0 - progress) ** self.power)


class Step(Schedule):
    """gamma^k after the k-th milestone; milestones are shares of the run in 0…1, ``gamma`` is 0 or more."""

    def __init__(
        self,
        warmup_steps: int = 0,
        warmup_start: float = 0.0,
        milestones: Sequence[float] = (0.6, 0.9),
        gamma: float = 0.1,
    ) -> None:
        super().__init__(warmup_steps, warmup_start)
        if not all(0.0 <= milestone <= 1.0 for milestone in milestones):
            raise ValueError(
                f"scheduler.milestones={list(milestones)}: milestones are shares of the run, between 0 and 1."
            )
        self.milestones = tuple(milestones)
        self.gamma = within("scheduler.gamma", gamma, 0, math.inf, "a factor")

    def curve(self, progress: float) -> float:
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0
