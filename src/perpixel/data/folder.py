"""The user's own images and masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from perpixel.data.decode import IMAGE_SUFFIXES, MASK_SUFFIXES
from perpixel.data.extras import Extra, extras_of
from perpixel.data.files import FileSource, OnBadFile
from perpixel.data.inspection import SHOWN
from perpixel.data.masks import BinaryMasks, ColourMasks, IndexMasks, MaskReader
from perpixel.data.pairs import Pair, tiled, unique_names
from perpixel.data.palettes import voc_colours
from perpixel.data.plan import SplitPlan, SplitRule
from perpixel.data.policy import Policy
from perpixel.labels import LabelSpace

Encoding = Literal["index", "colour"]


class Folder(FileSource):
    """Images and masks in folders of any layout; an image and its mask share a key.

    ``images`` and ``masks`` are folders (searched to any depth) or globs with ``*``, relative to ``root``. The key of a
    file is its path within the folder (for a glob: within ``root``) without its suffix, or, where ``image_key`` and
    ``mask_key`` are patterns with groups, what the groups match. So ``photos/a7.jpg`` and ``labels/a7_mask.png`` meet
    with ``mask_key='(.+)_mask'``.

    Args:
        root: folder that holds the data.
        images, masks: folders or globs.
        classes: class names, in the order of their indices; None where a policy names them by stored value.
        policy: file of a label policy (see ``perpixel.data.policy``) over the classes or, without, the stored values.
        palette: an RGB triple per class; None gives PASCAL VOC's colours.
        encoding: ``index`` where a mask's values (or palette indices) are the classes, ``colour`` where its RGB are.
        binary: masks are 0/255; 255 becomes class 1.
        ignore_index: mask value of pixels without a label, or None where every pixel has one.
        ignore_colours: the same for ``encoding=colour``, as RGB triples.
        image_key, mask_key: regular expressions for the whole path without suffix; their groups make the key.
        split: ``fractions`` (drawn by ``split_seed``), ``folders`` (keys begin with train/, val/ or test/), ``lists``.
        fractions: shares of train, val and test; a share of 0 leaves the split out.
        split_seed: decides the draw. Unless stratified, a file keeps its place in it when others come or go.
        stratify: with ``fractions``, give each split a like part of every class's pixels.
        group_by: what must not stand on both sides of a drawn split: a pattern searched in the key (its first group,
            or all of it), or a CSV within ``root`` with the columns key and group.
        folds: with ``fractions``, cross-validate: what the test share leaves is cut into so many folds.
        fold: the fold that validates, from 0.
        split_file: JSON within ``root`` that keeps the draw: read where it exists, written where not.
        lists: for each split the text file, relative to ``root``, that lists its keys, one a line.
        tile: [H, W] of the windows that each file is cut into, so that images may be larger than memory; null reads
            files whole. Tiles of one file stay in one split.
        on_bad_file: ``error`` refuses to train on faulty files, ``skip`` leaves them out and names them.
        max_bad: greatest share of faulty files in a split that ``skip`` tolerates.
        weights: folder or glob of per-pixel weights, one file for each image: grey (1 for full scale) or float. They
            move with the mask (nearest, 0 in padding) and are what the loss counts pixels by.
        extras: what else belongs to a sample, by the name that batches call it: ``{nir: {files: nir, kind: image, key:
            '(.+)', channels: 1}}``; the kinds are image, mask and weight.
        channels: C of the images.
        cache: keep decoded samples in the user's cache folder (as large as the raw pixels) and map them into memory.
        mean, std: per channel, in units of full scale; both are measured on the training images where one is None.

    Raises:
        ValueError: nothing is found, images lack masks, or a split is empty; says where was looked, and the mend.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str] | None = None,
        policy: str | None = None,
        images: str = "images",
        masks: str = "masks",
        palette: Sequence[Sequence[int]] | None = None,
        encoding: Encoding = "index",
        binary: bool = False,
        ignore_index: int | None = 255,
        ignore_colours: Sequence[Sequence[int]] = (),
        image_key: str = "(.+)",
        mask_key: str = "(.+)",
        split: SplitRule = "fractions",
        fractions: Sequence[float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        stratify: bool = False,
        group_by: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        split_file: str | None = None,
        lists: Mapping[str, str] | None = None,
        tile: Sequence[int] | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        weights: str | None = None,
        extras: Mapping[str, Mapping[str, Any]] | None = None,
        channels: int = 3,
        cache: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        rules: Mapping[str, str] = {}
        if classes is None and policy is not None:
            loaded, policy = Policy.load(policy), None
            reader: MaskReader = loaded.on_values()
            rules = loaded.rules
        else:
            labels = _label_space(classes, palette, ignore_index)
            reader = _mask_reader(labels, encoding, binary, ignore_colours)
        base = Path(root).expanduser()
        pairs = _paired(
            _found(base, images, image_key, IMAGE_SUFFIXES, "images"),
            _found(base, masks, mask_key, MASK_SUFFIXES, "masks"),
        )
        additional = extras_of(weights, extras)
        for extra in additional:
            pairs = _with_extra(base, pairs, extra)
        plan = SplitPlan(base, reader, split, fractions, split_seed, stratify, group_by, folds, fold, split_file, lists)
        divided = plan.divide(pairs)
        if tile is not None:
            size = (int(tile[0]), int(tile[1]))
            divided = {name: [part for pair in whole for part in tiled(pair, size)] for name, whole in divided.items()}
        super().__init__(divided, reader, policy, channels, mean, std, on_bad_file, max_bad, cache, additional)
        self.rules = self.rules or rules


def _label_space(
    classes: Sequence[str] | None, palette: Sequence[Sequence[int]] | None, ignore_index: int | None
) -> LabelSpace:
    if classes is None:
        raise ValueError("name your masks' classes: data.source.classes=[background,thing], or data.source.policy.")
    if not 1 <= len(classes) <= 255 or not (ignore_index is None or 0 <= ignore_index <= 255):
        raise ValueError(
            f"data.source has {len(classes)} classes and ignore_index={ignore_index}: masks are 8-bit, so name "
            "1…255 classes and choose an ignore index within 0…255 (or null)."
        )
    colours = voc_colours(len(classes)) if palette is None else [(int(r), int(g), int(b)) for r, g, b in palette]
    return LabelSpace(tuple(classes), tuple(colours), ignore_index)


def _mask_reader(
    labels: LabelSpace, encoding: Encoding, binary: bool, ignore_colours: Sequence[Sequence[int]]
) -> MaskReader:
    if binary:
        return BinaryMasks(labels)
    if encoding == "colour":
        return ColourMasks(labels, ignore_colours)
    if encoding == "index":
        return IndexMasks(labels)
    raise ValueError(f"data.source.encoding={encoding!r} is unknown: choose index or colour.")


def _found(root: Path, where: str, pattern: str, suffixes: Sequence[str], what: str) -> dict[str, Path]:
    """Files by key."""
    is_glob = "*" in where
    base = root if is_glob else root / where
    paths = sorted(root.glob(where) if is_glob else base.rglob("*"))
    files = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not files:
        raise ValueError(
            f"no {what} found: looked for {', '.join(suffixes)} {'as' if is_glob else 'under'} '{root / where}'. "
            f"Set data.source.root and data.source.{what} to where they are."
        )
    return _by_key(files, base, pattern, what)


def _by_key(files: Sequence[Path], base: Path, pattern: str, what: str) -> dict[str, Path]:
    keyed: dict[str, Path] = {}
    for path in files:
        match = re.fullmatch(pattern, path.relative_to(base).with_suffix("").as_posix())
        if match is None:
            continue
        key = "/".join(match.groups() or (match.group(),))
        if key in keyed:
            raise ValueError(
                f"'{keyed[key]}' and '{path}' both have the key '{key}': rename one, or make "
                f"data.source.{what.removesuffix('s')}_key tell them apart."
            )
        keyed[key] = path
    if not keyed:
        raise ValueError(
            f"none of the {len(files)} {what} under '{base}' matches "
            f"data.source.{what.removesuffix('s')}_key={pattern!r} "
            f"(first: '{files[0].relative_to(base).with_suffix('').as_posix()}')."
        )
    return keyed


def _paired(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, Pair]:
    lonely = [key for key in images if key not in masks]
    if lonely:
        raise ValueError(
            f"{len(lonely)} of {len(images)} images have no mask, first: {', '.join(map(repr, lonely[:SHOWN]))}. "
            f"The masks' keys look like {', '.join(map(repr, list(masks)[:2]))}: make the keys meet with "
            "data.source.image_key and data.source.mask_key, or take the images without mask away."
        )
    names = unique_names(list(images))
    return {key: Pair(name, path, masks[key]) for name, (key, path) in zip(names, images.items(), strict=True)}


def _with_extra(root: Path, pairs: Mapping[str, Pair], extra: Extra) -> dict[str, Pair]:
    files = _found(root, extra.files, extra.key, IMAGE_SUFFIXES, f"extras.{extra.name}")
    lonely = [key for key in pairs if key not in files]
    if lonely:
        raise ValueError(
            f"{len(lonely)} of {len(pairs)} images have no '{extra.name}' in '{root / extra.files}', first: "
            f"{', '.join(map(repr, lonely[:SHOWN]))}. Its keys look like {', '.join(map(repr, list(files)[:2]))}: make "
            f"the keys meet with data.source.extras.{extra.name}.key, or add the files."
        )
    return {key: pair._replace(extras=(*pair.extras, files[key])) for key, pair in pairs.items()}
