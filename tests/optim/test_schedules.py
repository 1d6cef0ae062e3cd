from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from perpixel.optim import Constant, Cosine, OneCycle, Poly, Schedule, Step

MEMBERS = [Constant(), Cosine(), OneCycle(), Poly(), Step()]


def factors(schedule: Schedule, steps: int) -> list[float]:
    """What an optimiser with lr 1 really gets, step by step."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    scheduler = schedule(optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


@pytest.mark.parametrize("schedule", MEMBERS, ids=lambda schedule: type(schedule).__name__)
def test_warm_up_is_linear_and_leads_into_the_curve(schedule: Schedule) -> None:
    warm = type(schedule)(warmup_steps=5, warmup_start=0.1)
    seen = factors(warm, 25)
    top = schedule.curve(0.0)
    for step in range(5):
        assert seen[step] == pytest.approx(0.1 + step / 5 * (top - 0.1))
    assert seen[5:] == pytest.approx([schedule.factor(step, 20) for step in range(20)])


@pytest.mark.parametrize("schedule", MEMBERS, ids=lambda schedule: type(schedule).__name__)
def test_a_warm_up_longer_than_the_run_is_refused(schedule: Schedule) -> None:
    with pytest.raises(ValueError, match="only 5 optimiser steps"):
        factors(type(schedule)(warmup_steps=5), 5)


def test_cosine_equals_torch() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    peer = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=19)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step()
    assert factors(Cosine(), 20) == pytest.approx(expected, abs=1e-12)


def test_onecycle_equals_torch() -> None:
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0, momentum=0.9)
    peer = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.3, cycle_momentum=False
    )
    expected = []
    for _ in range(101):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        peer.step() if len(expected) < 101 else None
    # torch rounds its turning point to whole steps, ours does not: both agree to within one step's change.
    assert factors(OneCycle(), 101) == pytest.approx(expected, abs=0.05)
    assert factors(OneCycle(), 101)[0] == pytest.approx(expected[0])
    assert factors(OneCycle(), 101)[-1] == pytest.approx(expected[-1], abs=1e-9)


def test_poly_and_step_by_their_formulas() -> None:
    assert factors(Poly(power=0.9), 11) == pytest.approx([(1 - step / 10) ** 0.9 for step in range(11)])
    assert factors(Step(milestones=[0.5], gamma=0.1), 11) == pytest.approx([1.0] * 5 + [0.1] * 6)


@pytest.mark.parametrize("schedule", MEMBERS, ids=lambda schedule: type(schedule).__name__)
def test_one_step_runs_are_finite(schedule: Schedule) -> None:
    assert all(map(math.isfinite, factors(schedule, 1)))


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="warmup_steps=-1"):
        Constant(warmup_steps=-1)
    with pytest.raises(ValueError, match="rise=2"):
        OneCycle(rise=2.0)
    with pytest.raises(ValueError, match="milestones"):
        Step(milestones=[30.0])
