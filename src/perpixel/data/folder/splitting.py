"""Dividing samples into splits: at random, by group, by class content, into folds; all as functions of a seed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from perpixel.data.base import SplitName

Counts = npt.NDArray[np.int64]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def divide(
    keys: Sequence[str],
    shares: Sequence[float],
    seed: int,
    groups: Sequence[str] | None = None,
    contents: Counts | None = None,
) -> dict[SplitName, list[str]]:
    """Divide samples into train, val and test.

    Args:
        keys: names of the samples.
        shares: of train, val and test, adding up to 1; a share of 0 leaves the split out.
        seed: decides the draw. Without ``contents``, a sample keeps its place in the draw when others come or go.
        groups: for each sample; no group stands on both sides.
        contents: (samples, classes) pixel counts; the splits then hold like parts of every class.

    Returns:
        Keys by split, each in the order of ``keys``.

    Raises:
        ValueError: the shares make no sense, or there are fewer groups than splits.
    """
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(
            f"data.source.fractions={list(shares)} must be three shares, of train, val and test, that add up to 1."
        )
    wanted = [index for index in range(3) if shares[index] > 0]
    parts = assign(keys, [shares[index] for index in wanted], seed, groups, contents)
    return {SPLITS[wanted[part]]: chosen for part, chosen in enumerate(parts)}


def cut_folds(
    keys: Sequence[str],
    test_share: float,
    folds: int,
    seed: int,
    groups: Sequence[str] | None = None,
    contents: Counts | None = None,
) -> dict[str, list[str]]:
    """Keys of ``fold0``, ``fold1``, … and, where it has a share, of ``test``, which is set aside.

    Raises:
        ValueError: there are fewer than two folds, or too few groups.
    """
    if folds < 2:
        raise ValueError(f"data.source.folds={folds}: use at least 2 folds, or null for one division.")
    shares = [*[(1 - test_share) / folds] * folds, *([test_share] if test_share > 0 else [])]
    names = [*map(fold_name, range(folds)), "test"]
    units = len(_units(keys, groups))
    if 2 < units < len(shares):
        raise ValueError(
            f"{units} {'samples' if groups is None else 'groups'} cannot be divided into {len(shares)} splits: "
            f"add data, or take fewer folds, data.source.folds={units - (test_share > 0)}."
        )
    return dict(zip(names, assign(keys, shares, seed, groups, contents), strict=False))


def choose_fold(parts: Mapping[str, list[str]], number: int) -> dict[SplitName, list[str]]:
    """Fold ``number`` of a cross-validation: it validates, the others train; the test split stays.

    Raises:
        ValueError: the fold does not exist.
    """
    folds = [name for name in parts if name != "test"]
    if fold_name(number) not in folds:
        raise ValueError(f"data.source.fold={number} of data.source.folds={len(folds)}: there are 0…{len(folds) - 1}.")
    training = sorted(key for name in folds if name != fold_name(number) for key in parts[name])
    return {"train": training, "val": parts[fold_name(number)], "test": list(parts.get("test", ()))}


def fold_name(number: int) -> str:
    """Of a fold, in files."""
    return f"fold{number}"


def assign(
    keys: Sequence[str],
    shares: Sequence[float],
    seed: int,
    groups: Sequence[str] | None = None,
    contents: Counts | None = None,
) -> list[list[str]]:
    """Keys of each part; whole groups go to one part.

    Raises:
        ValueError: there are fewer groups (or samples) than parts.
    """
    units = _units(keys, groups)
    if len(units) < len(shares):
        what = "samples" if groups is None else "groups"
        raise ValueError(
            f"{len(units)} {what} cannot be divided into {len(shares)} splits: "
            f"{'add data' if groups is None else 'group more finely with data.source.group_by'}{_with_few(len(units))}"
        )
    order = sorted(units, key=lambda unit: hashlib.sha256(f"{seed}:{unit}".encode()).digest())
    if contents is None:
        part_of = _by_size([len(units[unit]) for unit in order], shares)
    else:
        part_of = stratify(np.stack([contents[units[unit]].sum(axis=0) for unit in order]), shares)
    part_of_key = {index: part for unit, part in zip(order, part_of, strict=True) for index in units[unit]}
    return [[key for index, key in enumerate(keys) if part_of_key[index] == part] for part in range(len(shares))]


def _with_few(units: int) -> str:
    """What two samples (or groups), or one, can do."""
    if units == 2:
        return ", or do without a test split: data.source.fractions=[0.5,0.5,0]."
    return (
        ". One cannot be both learned from and judged on; as a check of data and model it can be learned by heart: "
        "data.overfit=1 data.source.fractions=[1,0,0] data.batch_size=1."
    )


def stratify(contents: Counts, shares: Sequence[float]) -> list[int]:
    """Iterative stratification (Sechidis et al. 2011) on pixel counts.

    The rarest class goes first: each unit that holds it, largest first, goes to the part that still wants most of that
    class (among equals, to the part that wants most units). Then the next rarest among the rest.

    Args:
        contents: (units, classes) pixel counts.
        shares: of each part.

    Returns:
        The part of each unit.
    """
    count = len(contents)
    wanted = np.outer(shares, contents.sum(axis=0)).astype(float)
    room = np.asarray(shares, float) * count
    part_of = np.full(count, -1)
    for label in np.argsort(np.where(contents.sum(axis=0) > 0, contents.sum(axis=0), np.inf), kind="stable"):
        holders = np.flatnonzero((part_of < 0) & (contents[:, label] > 0))
        for unit in holders[np.argsort(-contents[holders, label], kind="stable")]:
            _give(unit, int(label), contents, wanted, room, part_of)
    for unit in np.flatnonzero(part_of < 0):  # units without any label
        part_of[unit] = int(np.argmax(room))
        room[part_of[unit]] -= 1
    return _without_empty([int(part) for part in part_of], len(shares))


def _give(
    unit: int,
    label: int,
    contents: Counts,
    wanted: npt.NDArray[np.float64],
    room: npt.NDArray[np.float64],
    part_of: Counts,
) -> None:
    total = contents[:, label].sum()
    part = max(range(len(room)), key=lambda part: (round(wanted[part, label] / total, 9), room[part]))
    part_of[unit] = part
    wanted[part] -= contents[unit]
    room[part] -= 1


def _by_size(sizes: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Fill the later parts first, each to its share of all samples, in drawn order; the first part gets the rest."""
    part_of = [0] * len(sizes)
    unit = 0
    for part in range(1, len(shares)):
        target, filled = shares[part] * sum(sizes), 0
        left_for_others = len(shares) - 1 - part + 1
        while unit < len(sizes) - left_for_others and (filled == 0 or filled + sizes[unit] / 2 <= target):
            part_of[unit] = part
            filled += sizes[unit]
            unit += 1
    return part_of


def _without_empty(part_of: list[int], parts: int) -> list[int]:
    """Every part gets at least one unit, from the part that has most."""
    for part in range(parts):
        if part not in part_of:
            largest = max(range(parts), key=part_of.count)
            part_of[part_of.index(largest)] = part
    return part_of


def _units(keys: Sequence[str], groups: Sequence[str] | None) -> Mapping[str, list[int]]:
    units: dict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        units[key if groups is None else groups[index]].append(index)
    return units
