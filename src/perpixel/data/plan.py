"""How a folder of pairs is divided into splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from perpixel.data.base import SplitName
from perpixel.data.content import class_pixels_of_pairs
from perpixel.data.inspection import SHOWN
from perpixel.data.masks import MaskReader
from perpixel.data.pairs import Pair
from perpixel.data.properties import property_of
from perpixel.data.splitting import SPLITS, divide, fold

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
            ValueError: the rule does not fit the keys, a file is missing, or the training or validation split is empty.
        """
        grouped = _grouped(pairs, self.root, self.group_by)
        keys = self._keys(grouped)
        empty = [name for name in ("train", "val") if not keys.get(name)]
        if empty:
            raise ValueError(
                f"the split '{empty[0]}' of data=folder is empty ({len(pairs)} pairs, data.source.split={self.rule}): "
                "training needs images to learn from and others to be judged on."
            )
        return {name: [grouped[key] for key in keys.get(name, ())] for name in SPLITS}

    def _keys(self, pairs: Mapping[str, Pair]) -> Keys:
        if self.rule == "fractions":
            return self._draw(pairs) if self.file is None else self._saved(self.root / self.file, pairs)
        if self.rule == "folders":
            return _by_folders(list(pairs))
        if self.rule == "lists":
            return _by_lists(pairs, self.root, self.lists or {})
        raise ValueError(f"data.source.split={self.rule!r} is unknown: choose fractions, folders or lists.")

    def _draw(self, pairs: Mapping[str, Pair]) -> Keys:
        keys, own = list(pairs), list(pairs.values())
        groups = [pair.group for pair in own] if self.group_by else None
        contents = class_pixels_of_pairs(own, self.read_mask) if self.stratify else None
        if self.folds is None:
            return divide(keys, self.fractions, self.seed, groups, contents)
        return fold(keys, self.fractions[2], self.folds, self.fold, self.seed, groups, contents)

    def _saved(self, path: Path, pairs: Mapping[str, Pair]) -> Keys:
        """The split in a file; where there is no such file yet, one is drawn and written."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._draw(pairs), indent=1) + "\n", encoding="utf-8")
        saved: Keys = json.loads(path.read_text(encoding="utf-8"))
        gone = [key for keys in saved.values() for key in keys if key not in pairs]
        if gone:
            raise ValueError(
                f"the split file '{path}' names {len(gone)} samples that are not there, first: "
                f"{', '.join(map(repr, gone[:SHOWN]))}. Bring them back, or remove the file to draw anew."
            )
        return saved


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
    return chosen


def _listed(path: Path, pairs: Mapping[str, Pair]) -> list[str]:
    if not path.is_file():
        raise ValueError(f"the split list '{path}' does not exist: see data.source.lists.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    keys = [line if line in pairs else Path(line).with_suffix("").as_posix() for line in lines if line]
    unknown = [key for key in keys if key not in pairs]
    if unknown:
        raise ValueError(
            f"{len(unknown)} lines of '{path}' name no pair, first: {', '.join(map(repr, unknown[:SHOWN]))}. "
            f"Keys look like {', '.join(map(repr, list(pairs)[:2]))}."
        )
    return keys
