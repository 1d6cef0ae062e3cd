"""Learning-rate schedules: pure functions from the optimiser step to a factor of the base learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch.optim.lr_scheduler import LambdaLR


class Schedule(ABC):
    """A factor of the learning rate for every optimiser step.

    Args:
        warmup_steps: the first steps, in which the factor rises linearly from ``warmup_start`` to where the curve
            begins.
        warmup_start: factor at step 0 when there is a warm-up.

    Raises:
        ValueError: a negative number of steps.
    """

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0) -> None:
        if warmup_steps < 0:
            raise ValueError(f"scheduler.warmup_steps={warmup_steps}: a number of steps is 0 or more.")
        self.warmup_steps = warmup_steps
        self.warmup_start = warmup_start

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
    """Half a cosine from 1 to ``end`` (Loshchilov & Hutter 2017, one cycle)."""

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0, end: float = 0.0) -> None:
        super().__init__(warmup_steps, warmup_start)
        self.end = end

    def curve(self, progress: float) -> float:
        return _cosine(1.0, self.end, progress)


class OneCycle(Schedule):
    """Cosine rise from ``start`` to 1 over the first ``rise`` of the run, cosine fall to ``end`` (Smith & Topin 2018).

    Raises:
        ValueError: ``rise`` outside 0…1.
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
        if not 0.0 <= rise <= 1.0:
            raise ValueError(f"scheduler.rise={rise}: the share of the run that rises lies between 0 and 1.")
        self.rise, self.start, self.end = rise, start, end

    def curve(self, progress: float) -> float:
        if progress < self.rise:
            return _cosine(self.start, 1.0, progress / self.rise)
        return _cosine(1.0, self.end, (progress - self.rise) / max(1.0 - self.rise, 1e-12))


class Poly(Schedule):
    """(1 − progress)^power, the schedule of DeepLab (Chen et al. 2017)."""

    def __init__(self, warmup_steps: int = 0, warmup_start: float = 0.0, power: float = 0.9) -> None:
        super().__init__(warmup_steps, warmup_start)
        self.power = power

    def curve(self, progress: float) -> float:
        return float((1.0 - progress) ** self.power)


class Step(Schedule):
    """gamma^k after the k-th milestone; milestones are shares of the run in 0…1."""

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
        self.milestones, self.gamma = tuple(milestones), gamma

    def curve(self, progress: float) -> float:
        return float(self.gamma ** sum(progress >= milestone for milestone in self.milestones))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * share)) / 2.0
