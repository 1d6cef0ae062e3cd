"""How a folder of pairs is divided into splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from perpixel.data.base import SplitName
from perpixel.data.files.class_pixels import class_pixels_of_pairs
from perpixel.data.files.inspection import SHOWN
from perpixel.data.files.pairs import Pair
from perpixel.data.folder.properties import property_of
from perpixel.data.folder.split_file import Parts, kept_draw
from perpixel.data.folder.splitting import SPLITS, choose_fold, cut_folds, divide, fold_name
from perpixel.data.formats.texts import composed, read_text
from perpixel.data.masks.reader import MaskReader

SplitRule = Literal["fractions", "folders", "lists"]
Keys = dict[SplitName, list[str]]

FOLDER_NAMES: dict[str, SplitName] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class SplitPlan:
    """A rule for dividing pairs; the arguments are those of ``perpixel.data.Folder``.

    Args:
        root: folder that relative paths of files start from.
        read_mask: reads class contents, where ``stratify`` asks for them.
    """

    root: Path
    read_mask: MaskReader
    rule: SplitRule
    fractions: Sequence[float]
    seed: int
    stratify: bool
    group_by: str | None
    folds: int | None
    fold: int
    file: str | None
    lists: Mapping[str, str] | None

    def divide(self, pairs: Mapping[str, Pair]) -> dict[SplitName, list[Pair]]:
        """Pairs by key → pairs by split, with their groups.

        Raises:
            ValueError: the rule does not fit the keys or another argument, a file is missing, a group stands on both
                sides, or the training or validation split, or one that has a list, is empty.
        """
        self._refuse_idle()
        grouped = _grouped(pairs, self.root, self.group_by)
        keys = self._keys(grouped)
        needed: tuple[SplitName, ...] = ("train",) if self._no_val else ("train", "val")
        empty = [name for name in needed if not keys.get(name)]
        if empty:
            raise ValueError(
                f"the split '{empty[0]}' of data=folder is empty ({len(pairs)} pairs, data.source.split={self.rule}): "
                "training needs images to learn from and others to be judged on."
            )
        parts = {name: [grouped[key] for key in keys.get(name, ())] for name in SPLITS}
        self._refuse_shared_groups(parts)
        return parts

    @property
    def _no_val(self) -> bool:
        """Whether no validation split is asked for: ``data.overfit`` needs none."""
        drawn = self.rule == "fractions" and self.file is None and self.folds is None
        return drawn and len(self.fractions) == 3 and self.fractions[1] == 0

    def _refuse_idle(self) -> None:
        """Arguments of a draw would do nothing where nothing is drawn."""
        given = {"stratify": self.stratify or None, "folds": self.folds, "split_file": self.file}
        idle = [f"data.source.{name}={value}" for name, value in given.items() if value is not None]
        if idle and self.rule in ("folders", "lists"):
            raise ValueError(
                f"{' and '.join(idle)} would do nothing with data.source.split={self.rule}, which says itself who "
                "stands where: leave it out, or choose data.source.split=fractions, which draws."
            )

    def _refuse_shared_groups(self, parts: Mapping[SplitName, Sequence[Pair]]) -> None:
        """A draw keeps groups together; folders, lists and a file written by hand may not."""
        seen: dict[str, tuple[SplitName, str]] = {}
        shared: dict[str, str] = {}
        for name, part in parts.items():
            for pair in part if self.group_by is not None else ():
                side, sample = seen.setdefault(pair.group, (name, pair.name))
                if side != name:
                    shared.setdefault(pair.group, f"'{sample}' in {side} and '{pair.name}' in {name}")
        if shared:
            group, sides = next(iter(shared.items()))
            raise ValueError(
                f"{len(shared)} groups of data.source.group_by={self.group_by} stand on both sides of the split, first "
                f"'{group}': {sides}. Move all samples of a group to one side, or choose data.source.split=fractions "
                "without a split_file, which does so."
            )

    def _keys(self, pairs: Mapping[str, Pair]) -> Keys:
        if self.rule == "fractions":
            return self._by_draw(pairs)
        if self.rule == "folders":
            return _by_folders(list(pairs))
        if self.rule == "lists":
            return _by_lists(pairs, self.root, self.lists or {})
        raise ValueError(f"data.source.split={self.rule!r} is unknown: choose fractions, folders or lists.")

    def _by_draw(self, pairs: Mapping[str, Pair]) -> Keys:
        if self.file is None:
            parts = self._draw(pairs)
        else:
            parts = kept_draw(self.root / self.file, self._draw_rule(), pairs, lambda: self._draw(pairs))
            self._check_parts(parts)
        return cast(Keys, parts) if self.folds is None else choose_fold(parts, self.fold)

    def _draw(self, pairs: Mapping[str, Pair]) -> Parts:
        keys, own = list(pairs), list(pairs.values())
        groups = [pair.group for pair in own] if self.group_by else None
        contents = class_pixels_of_pairs(own, self.read_mask) if self.stratify else None
        if self.folds is None:
            return cast(Parts, divide(keys, self.fractions, self.seed, groups, contents))
        return cut_folds(keys, self.fractions[2], self.folds, self.seed, groups, contents)

    def _draw_rule(self) -> dict[str, Any]:
        """What a draw depends on besides the pairs; which fold validates is chosen afterwards."""
        return {
            "fractions": [float(share) for share in self.fractions],
            "split_seed": self.seed,
            "stratify": self.stratify,
            "group_by": self.group_by,
            "folds": self.folds,
        }

    def _check_parts(self, parts: Parts) -> None:
        """A file that was written by hand must hold the parts that are asked for."""
        wanted = {*(SPLITS if self.folds is None else map(fold_name, range(self.folds))), "test"}
        if unknown := [name for name in parts if name not in wanted]:
            raise ValueError(
                f"the split file '{self.root / str(self.file)}' holds a part '{unknown[0]}', but with "
                f"data.source.folds={self.folds} its parts are {', '.join(sorted(wanted))}."
            )


def _grouped(pairs: Mapping[str, Pair], root: Path, rule: str | None) -> dict[str, Pair]:
    """Pairs with their group."""
    if rule is None:
        return dict(pairs)
    groups = property_of(pairs, root, rule, "group", "data.source.group_by")
    return {key: pair._replace(group=groups[key]) for key, pair in pairs.items()}


def _by_folders(keys: Sequence[str]) -> dict[SplitName, list[str]]:
    chosen: dict[SplitName, list[str]] = {name: [] for name in SPLITS}
    for key in keys:
        name = FOLDER_NAMES.get(key.split("/")[0].lower())
        if name is None or "/" not in key:
            raise ValueError(
                f"data.source.split=folders needs keys that begin with train/, val/ or test/, but found '{key}': sort "
                "the files into such folders, or choose data.source.split=fractions."
            )
        chosen[name].append(key)
    return chosen


def _by_lists(pairs: Mapping[str, Pair], root: Path, lists: Mapping[str, str]) -> dict[SplitName, list[str]]:
    chosen: dict[SplitName, list[str]] = {name: [] for name in SPLITS}
    owner: dict[str, str] = {}
    for name in lists:
        if name not in SPLITS:
            raise ValueError(f"data.source.lists has the key '{name}': use train, val and test.")
    for name in SPLITS:
        for key in _listed(root / lists[name], pairs) if name in lists else ():
            if owner.setdefault(key, name) != name or key in chosen[name]:
                raise ValueError(f"'{key}' stands in the lists of {owner[key]} and {name}: a sample has one place.")
            chosen[name].append(key)
    if "test" in lists and not chosen["test"]:
        raise ValueError(
            f"the test list '{root / lists['test']}' names no sample: leave it out of data.source.lists where there is "
            "to be no test split."
        )
    return chosen


def _listed(path: Path, pairs: Mapping[str, Pair]) -> list[str]:
    lines = [composed(line.strip()) for line in read_text(path, "split list", "data.source.lists").splitlines()]
    keys = [line if line in pairs else Path(line).with_suffix("").as_posix() for line in lines if line]
    unknown = [key for key in keys if key not in pairs]
    if unknown:
        raise ValueError(
            f"{len(unknown)} lines of '{path}' name no pair, first: {', '.join(map(repr, unknown[:SHOWN]))}. "
            f"Keys look like {', '.join(map(repr, list(pairs)[:2]))}."
        )
    return keys
