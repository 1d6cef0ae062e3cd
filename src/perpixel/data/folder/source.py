"""The user's own images and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from perpixel.data.files.extras import extras_of
from perpixel.data.files.pairs import Pair, tiled
from perpixel.data.files.source import FileSource, OnBadFile
from perpixel.data.files.statistics import evenly
from perpixel.data.folder.encodings import SUFFIXES, Binary, Encoding, Labelling
from perpixel.data.folder.index import Division, read_files, remembered_pairs, searched_folders
from perpixel.data.folder.matching import find, find_coco, paired, unused, with_extra
from perpixel.data.folder.plan import SplitPlan, SplitRule
from perpixel.data.folder.properties import property_of
from perpixel.data.formats.decode import stored_channels
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES
from perpixel.data.masks.policy import Policy

_OF_NO_PAIR = frozenset(
    [
        "self",
        "__class__",
        "classes",
        "policy",
        "palette",
        "binary",
        "reduce_zero_label",
        "ignore_index",
        "ignore_colours",
        "default_class",
        "line_width",
        "on_bad_file",
        "max_bad",
        "channels",
        "cache",
        "mean",
        "std",
    ]
)
"""Arguments that do not decide which files belong together."""


class Folder(FileSource):
    """Images and masks in folders of any layout; an image and its mask share a key.

    ``images`` and ``masks`` are folders (searched to any depth, links followed) or globs with ``*``, relative to
    ``root``. The key of a file is its path within the folder (for a glob: within ``root``) without its suffix, or,
    where ``image_key`` and ``mask_key`` are patterns with groups, what the groups match. So ``photos/a7.jpg`` and
    ``labels/a7_mask.png`` meet with ``mask_key='(.+)_mask'``. Accents are compared as they are read, however Unicode
    puts them together; hidden files are no data. ``unused`` has the images and masks that became part of no pair.

    What was found is kept in the user's cache folder until a folder gets or loses an entry: a million files start in
    seconds the second time (see ``perpixel.data.folder.index``).

    Args:
        root: folder that holds the data.
        images, masks: folders or globs.
        classes: names (numbers are taken as names) in the order of their indices; None where a policy names them by
            stored value.
        policy: file of a label policy (``perpixel.data.masks.policy``) over the classes or, without, the stored values.
        palette: an RGB triple per class; None gives PASCAL VOC's colours.
        encoding: ``index`` where a mask's values (or palette indices) are the classes, ``colour`` where its RGB are,
            ``labelme`` for shapes in one LabelMe JSON an image, ``coco`` for one or several COCO JSONs of instances
            (``masks`` names the file, its folder or a glob; images are found by ``file_name``).
        binary: True where masks are 0/255: 255 becomes class 1. ``nonzero`` where every value but 0 is class 1, as in
            instance masks, which hold an id for each object; there is no ignore value then.
        reduce_zero_label: stored 0 has no label, 1 is the first class (ADE20K's way).
        ignore_index: mask value of pixels without a label, or None where every pixel has one.
        ignore_colours: the same for ``encoding=colour``, as RGB triples.
        default_class: for shapes, the class of the pixels that nobody drew on; None leaves them without a label, which
            is right for scribbles, boxes and coarse polygons.
        line_width: of drawn lines and points, in pixels.
        image_key, mask_key: regular expressions for the whole path without suffix; their groups make the key.
        split: ``fractions`` (drawn by ``split_seed``), ``folders`` (keys begin with train/, val/ or test/), ``lists``.
        fractions: shares of train, val and test; a share of 0 leaves the split out.
        split_seed: decides the draw. Unless stratified, a file keeps its place in it when others come or go.
        stratify: with ``fractions``, give each split a like part of every class's pixels.
        group_by: what must not stand on both sides of a split (a draw keeps it together; folders and lists that do not
            are refused): a pattern searched in the key (its first group, or all of it), or a CSV within ``root`` with
            the columns key and group (``meta.csv:patient``: key, patient).
        conditions: what samples were taken under, by name: a pattern or a CSV as for ``group_by``, with the name as the
            column. ``{light: '(day|night)', weather: weather.csv}``; the audit says which class was seen under which.
        folds: with ``fractions``, cross-validate: what the test share leaves is cut into so many folds.
        fold: the fold that validates, from 0.
        split_file: JSON within ``root`` that keeps the draw, of all folds, with its rule: read where it exists, written
            where not. A file of another rule is refused, and so are files that are in none of its parts; a file without
            a rule is the user's own, or a run's ``splits.json``, and may leave files out.
        lists: for each split the text file, relative to ``root``, that lists its keys, one a line.
        tile: [H, W] of the windows that each file is cut into, so that images may be larger than memory; null reads
            files whole. Tiles of one file stay in one split.
        on_bad_file: ``error`` refuses to train on faulty files, ``skip`` leaves them out and names them.
        max_bad: greatest share of faulty files in a split that ``skip`` tolerates.
        weights: folder or glob of per-pixel weights, one file for each image: grey (1 for full scale) or float. They
            move with the mask (nearest, 0 in padding) and are what the loss counts pixels by.
        extras: what else belongs to a sample, by the name that batches call it: ``{nir: {files: nir, kind: image, key:
            '(.+)', channels: 1}}``; the kinds are image, mask and weight.
        channels: C of the images; None takes it from the files: 1 where all are grey, 3 for colours, or the bands.
        cache: keep decoded samples in the user's cache folder (as large as the raw pixels) and map them into memory.
        mean, std: per channel, in units of full scale; both are measured on the training images where one is None.

    Raises:
        ValueError: nothing is found, images lack masks, or a split is empty; says where was looked, and the mend.
    """

    def __init__(
        self,
        root: str,
        classes: Sequence[str | int] | None = None,
        policy: str | None = None,
        images: str = "images",
        masks: str = "masks",
        palette: Sequence[Sequence[int]] | None = None,
        encoding: Encoding = "index",
        binary: Binary = False,
        reduce_zero_label: bool = False,
        ignore_index: int | None = 255,
        ignore_colours: Sequence[Sequence[int]] = (),
        default_class: str | None = None,
        line_width: float = 3.0,
        image_key: str = "(.+)",
        mask_key: str = "(.+)",
        split: SplitRule = "fractions",
        fractions: Sequence[float] = (0.7, 0.15, 0.15),
        split_seed: int = 0,
        stratify: bool = False,
        group_by: str | None = None,
        conditions: Mapping[str, str] | None = None,
        folds: int | None = None,
        fold: int = 0,
        split_file: str | None = None,
        lists: Mapping[str, str] | None = None,
        tile: Sequence[int] | None = None,
        on_bad_file: OnBadFile = "error",
        max_bad: float = 0.01,
        weights: str | None = None,
        extras: Mapping[str, Mapping[str, Any]] | None = None,
        channels: int | None = 3,
        cache: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        given = repr(sorted((name, value) for name, value in locals().items() if name not in _OF_NO_PAIR))
        labelling = Labelling(
            encoding,
            None if classes is None else [str(name) for name in classes],
            palette,
            binary,
            reduce_zero_label,
            ignore_index,
            ignore_colours,
            default_class,
            line_width,
        )
        rules: Mapping[str, str] = {}
        if classes is None and policy is not None:
            loaded, policy = Policy.load(policy), None
            reader = labelling.reader_by(loaded)
            rules = loaded.rules
        else:
            reader = labelling.reader()
        base = Path(root).expanduser()
        window = None if tile is None else _window(tile)
        additional = extras_of(weights, extras)

        def divided() -> Division:
            found = find(base, images, image_key, IMAGE_SUFFIXES, "images")
            if encoding == "coco":
                labels = find_coco(base, masks, mask_key)
            else:
                labels = find(base, masks, mask_key, SUFFIXES[encoding], "masks")
            own_keys = (image_key, mask_key) != ("(.+)", "(.+)")
            pairs = paired(found.files, labels.files, own_keys, labels.unread)
            for name, rule in (conditions or {}).items():
                values = property_of(pairs, base, rule, name, f"data.source.conditions.{name}")
                pairs = {
                    key: pair._replace(conditions=(*pair.conditions, (name, values[key])))
                    for key, pair in pairs.items()
                }
            for extra in additional:
                pairs = with_extra(base, pairs, extra)
            plan = SplitPlan(
                base, reader, split, fractions, split_seed, stratify, group_by, folds, fold, split_file, lists
            )
            parts = plan.divide(pairs)
            if window is not None:
                parts = {name: [tile for pair in part for tile in tiled(pair, window)] for name, part in parts.items()}
            return Division(parts, unused(found, labels, pairs, image_key))

        if stratify or tile is not None or encoding == "coco":  # these depend on what is in the files
            division = divided()
        else:
            searched = [images, masks, *(extra.files for extra in additional)]
            rulings = [group_by, split_file, *(lists or {}).values(), *(conditions or {}).values()]
            division = remembered_pairs(given, searched_folders(base, searched), read_files(base, rulings), divided)
        channels = _channels_of(division.splits["train"]) if channels is None else channels
        super().__init__(division.splits, reader, policy, channels, mean, std, on_bad_file, max_bad, cache, additional)
        self.rules = self.rules or rules
        self.unused = division.unused
        self.drawn = split == "fractions"


def _channels_of(pairs: Sequence[Pair]) -> int:
    """What a look at some files tells; files that differ, or cannot be read, are named before training."""
    found: set[int] = set()
    for pair in evenly(pairs):
        with suppress(ValueError, OSError):
            found.add(stored_channels(pair.image))
    return max(found, default=3)


def _window(tile: Sequence[int]) -> tuple[int, int]:
    if len(tile) != 2 or min(tile) < 1:
        raise ValueError(
            f"data.source.tile={list(tile)}: give [height, width] of the windows, in pixels, or null for whole files."
        )
    return int(tile[0]), int(tile[1])
