"""Files of a folder by key: what an image and all that belongs to it share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from perpixel.data.annotations import coco_files
from perpixel.data.files.extras import Extra
from perpixel.data.files.inspection import SHOWN
from perpixel.data.files.pairs import Pair, unique_names
from perpixel.data.files.walking import files_below, matching
from perpixel.data.folder.advice import key_advice, nothing_found, of_unread
from perpixel.data.formats.suffixes import IMAGE_SUFFIXES, JPEG_SUFFIXES, UNREAD_SUFFIXES
from perpixel.data.formats.texts import composed
from perpixel.data.unused import Unused


class Found(NamedTuple):
    """What a search found.

    Attributes:
        files: by key.
        unmatched: files that the pattern does not match, by their name below the folder.
        unread: names of pictures that would have had a key of their own, did anything here read them.
    """

    files: dict[str, Path]
    unmatched: dict[str, Path]
    unread: Sequence[str] = ()


def find(root: Path, where: str, pattern: str, suffixes: Sequence[str], what: str) -> Found:
    """Files of a folder (at any depth, linked folders included) or glob by key.

    Args:
        root: folder that ``where`` is relative to.
        where: folder, glob or single file.
        pattern: over the path without suffix; its groups make the key.
        suffixes: of the files that count.
        what: key of ``data.source`` that ``where`` came from, for errors.

    Raises:
        ValueError: nothing is found, nothing matches, or two files have one key.
    """
    base, files, others = _listed(root, where, suffixes, what)
    rule = _Rule.of(pattern, what)
    found = _by_key(_named(files, base), rule, what)
    keys = {name: rule.key(name) for name in _named(others, base)}
    return found._replace(unread=[name for name, key in keys.items() if key is not None and key not in found.files])


def find_coco(root: Path, where: str, pattern: str) -> Found:
    """Annotations of single images, from one or several COCO files, by key.

    The path that ``pattern`` sees is the image's ``file_name``, after the COCO file's own folder within ``where``: so
    annotations beside the images of each split are told apart.

    Raises:
        ValueError: two files annotate one image; see ``find`` and ``coco_files``.
    """
    base, files, _ = _listed(root, where, (".json",), "masks")
    found: dict[str, Path] = {}
    origins: dict[str, Path] = {}
    for path in files:
        folder = PurePosixPath(path.parent.relative_to(base).as_posix())
        for name, file in coco_files(path).items():
            if (other := origins.setdefault(str(folder / name), path)) != path:
                raise ValueError(
                    f"'{other}' and '{path}' both annotate '{name}', and one would be lost: merge the files, or name "
                    "one with data.source.masks."
                )
            found[str(folder / name)] = file
    return _by_key(found, _Rule.of(pattern, "masks"), "masks")


def paired(
    images: Mapping[str, Path], masks: Mapping[str, Path], own_keys: bool = False, unread: Sequence[str] = ()
) -> dict[str, Pair]:
    """Images with their masks, by key.

    Args:
        images, masks: files by key.
        own_keys: whether patterns of the user's made the keys, so that none is proposed.
        unread: names of pictures among the masks that are not read as masks.

    Raises:
        ValueError: images lack masks; says which, and what the masks' keys look like.
    """
    lonely = [key for key in images if key not in masks]
    if lonely:
        advice = of_unread(unread) or ("" if own_keys else key_advice(list(images), list(masks)))
        raise ValueError(
            f"{len(lonely)} of {len(images)} images have no mask, first: {', '.join(map(repr, lonely[:SHOWN]))}. "
            f"The masks' keys look like {', '.join(map(repr, list(masks)[:2]))}: make the keys meet with "
            "data.source.image_key and data.source.mask_key, or take the images without mask away."
            f"{f' {advice}' if advice else ''}"
        )
    names = unique_names(list(images))
    return {key: Pair(name, path, masks[key]) for name, (key, path) in zip(names, images.items(), strict=True)}


def unused(images: Found, masks: Found, pairs: Mapping[str, Pair], image_key: str) -> tuple[Unused, ...]:
    """What somebody may think is trained on, and is not.

    Masks that ``mask_key`` does not match are not missed: every image has its mask, and a folder of masks often holds
    several kinds. An image that ``image_key`` does not match may be a mask or extra that lies in the same folder.
    """
    others = {*masks.files.values(), *(path for pair in pairs.values() for path in pair.extras)}
    kinds = (
        Unused.of("images whose ending is not read (convert them, to PNG say)", images.unread),
        Unused.of(
            f"images that data.source.image_key={image_key!r} does not match (widen it, or take them away)",
            (name for name, path in images.unmatched.items() if path not in others),
        ),
        Unused.of(
            "masks without an image, by key (bring the images, or make the keys meet with data.source.image_key and "
            "data.source.mask_key)",
            (key for key in masks.files if key not in pairs),
        ),
    )
    return tuple(kind for kind in kinds if kind.total)


def with_extra(root: Path, pairs: Mapping[str, Pair], extra: Extra) -> dict[str, Pair]:
    """Pairs with one more file each.

    Raises:
        ValueError: samples lack the file; says which, and what the files' keys look like.
    """
    files = find(root, extra.files, extra.key, IMAGE_SUFFIXES, f"extras.{extra.name}.files").files
    lonely = [key for key in pairs if key not in files]
    if lonely:
        raise ValueError(
            f"{len(lonely)} of {len(pairs)} images have no '{extra.name}' in '{root / extra.files}', first: "
            f"{', '.join(map(repr, lonely[:SHOWN]))}. Its keys look like {', '.join(map(repr, list(files)[:2]))}: make "
            f"the keys meet with data.source.extras.{extra.name}.key, or add the files."
        )
    return {key: pair._replace(extras=(*pair.extras, files[key])) for key, pair in pairs.items()}


def _listed(root: Path, where: str, suffixes: Sequence[str], what: str) -> tuple[Path, list[Path], list[Path]]:
    """What keys are relative to, the files, and pictures beside them that nothing here reads."""
    is_glob, single = "*" in where, (root / where).is_file()
    base = root if is_glob else (root / where).parent if single else root / where
    paths = [root / where] if single else sorted(matching(root, where) if is_glob else files_below(base))
    files = [path for path in paths if path.suffix.lower() in suffixes and path.is_file()]
    if not files:
        raise ValueError(nothing_found(root, where, suffixes, what, paths))
    unread = (*UNREAD_SUFFIXES, *JPEG_SUFFIXES) if what == "masks" else UNREAD_SUFFIXES
    return (
        base,
        files,
        [path for path in paths if path.suffix.lower() in unread and path.suffix.lower() not in suffixes],
    )


def _named(paths: Iterable[Path], base: Path) -> dict[str, Path]:
    return {path.relative_to(base).as_posix(): path for path in paths}


@dataclass(frozen=True)
class _Rule:
    """How a key is made of a name: ``config_key`` says so by a pattern."""

    config_key: str
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, pattern: str, what: str) -> _Rule:
        key = f"{what.removesuffix('files')}key" if what.endswith(".files") else f"{what.removesuffix('s')}_key"
        try:
            return cls(f"data.source.{key}", re.compile(composed(pattern)))
        except re.error as error:
            raise ValueError(f"data.source.{key}={pattern!r} is no regular expression: {error}.") from None

    def __str__(self) -> str:
        return f"{self.config_key}={self.pattern.pattern!r}"

    def key(self, name: str) -> str | None:
        """The key of a file by its name, None where the pattern does not match."""
        match = self.pattern.fullmatch(composed(_stem(name)))
        if match is None:
            return None
        groups = match.groups() or (match.group(),)
        if None in groups:
            raise ValueError(
                f"{self}: group {groups.index(None) + 1} has no part in '{match.string}': make it match always, if "
                "only nothing, as (x?) for (x)?; what does not belong to the key is written (?:x)?."
            )
        return "/".join(groups)


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _by_key(files: Mapping[str, Path], rule: _Rule, what: str) -> Found:
    keyed: dict[str, Path] = {}
    unmatched: dict[str, Path] = {}
    for name, path in files.items():
        key = rule.key(name)
        if key is None:
            unmatched[name] = path
        elif key in keyed:
            raise ValueError(
                f"'{keyed[key]}' and '{path}' both have the key '{key}': rename one, or make "
                f"{rule.config_key} tell them apart."
            )
        else:
            keyed[key] = path
    if not keyed:
        raise ValueError(f"none of the {len(files)} {what} matches {rule} (first: '{_stem(next(iter(files)))}').")
    return Found(keyed, unmatched)
