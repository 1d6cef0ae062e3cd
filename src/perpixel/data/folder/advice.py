"""Why files were not found, or not paired, and the override that finds or pairs them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from perpixel.config.quoting import typed
from perpixel.data.files.walking import files_below
from perpixel.data.formats.decode import SHARPENED
from perpixel.data.formats.suffixes import JPEG_SUFFIXES, UNREAD_SUFFIXES

_SHOWN = 12
"""How many folders a message lists."""
_COUNTED = 10_000
"""Files that are looked at in each of them."""
_USUAL = {
    "images": "images image imgs img jpegimages photos rgb leftimg8bit inputs input x",
    "masks": "masks mask labels label annotations annotation gt gtfine segmentationclass groundtruth targets target "
    "segmentation segmentations y",
}
"""What such folders are often called, the likelier first."""
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")


def nothing_found(root: Path, where: str, suffixes: Sequence[str], what: str, paths: Iterable[Path]) -> str:
    """What to say where no file was found.

    Args:
        root: folder that ``where`` is relative to.
        where: folder, glob or single file.
        suffixes: of the files that were looked for.
        what: key of ``data.source`` that ``where`` came from.
        paths: files that lie there, of whatever ending.
    """
    is_weight = what == "extras.weight.files"
    key, called = f"data.source.{'weights' if is_weight else what}", "weights" if is_weight else what
    told = f"no {called} found: looked for {', '.join(suffixes)} {'as' if '*' in where else 'under'} '{root / where}'. "
    endings = Counter(path.suffix.lower() for path in paths if path.is_file())
    if advice := _of_endings(endings, called, root / where):
        return told + advice
    return f"{told}{_elsewhere(root, where, key, what, suffixes)} Set data.source.root and {key} to where they are."


def _of_endings(endings: Counter[str], what: str, folder: Path) -> str:
    """About files that lie there and are of another kind."""
    jpegs = sum(endings[ending] for ending in JPEG_SUFFIXES)
    unread = [ending for ending in endings if ending in UNREAD_SUFFIXES]
    if what == "masks" and jpegs:
        return f"{jpegs} JPEG files lie there, and JPEG blurs labels, so masks are not read from it. {SHARPENED}"
    if what == "masks" and endings[".json"]:
        return (
            f"{endings['.json']} JSON files lie there: set data.source.encoding=labelme (one file for each image) or "
            "data.source.encoding=coco."
        )
    if unread:
        ending = max(unread, key=endings.__getitem__)
        return (
            f"{endings[ending]} files there end in {ending}, which is not read: convert them, with Pillow's formats by "
            f"python -c \"from pathlib import Path; from PIL import Image; [Image.open(p).save(p.with_suffix('.png')) "
            f"for p in Path(r'{folder}').rglob('*{ending}')]\""
        )
    if endings:
        common = ", ".join(f"{ending or 'no ending'} ({count})" for ending, count in endings.most_common(3))
        return f"The files there end in {common}: give their folder, or save them as PNG."
    return ""


def of_unread(names: Sequence[str]) -> str:
    """About pictures among the masks that are not read as masks; empty where there are none."""
    if not names:
        return ""
    blurred = any(Path(name).suffix.lower() in JPEG_SUFFIXES for name in names)
    how = f"JPEG blurs labels. {SHARPENED}" if blurred else "Save them as PNG."
    return f"{len(names)} files among the masks are of a kind that is not read as a mask, first {names[0]!r}: {how}"


def _elsewhere(root: Path, where: str, key: str, what: str, suffixes: Sequence[str]) -> str:
    """What there is in place of the folder, with the override that names it."""
    if root.is_file():
        return f"'{root}' is a file: name its folder, {typed('data.source.root', str(root.parent))}."
    if not root.is_dir():
        return _without_root(root)
    folders = _folders(root)
    first, *rest = Path(where).parts or ("",)
    for folder in folders:
        if (root / folder / first).is_dir():
            return f"'{root / folder}' has such a folder: {typed('data.source.root', str(root / folder))}."
    counts = {folder: _count(root / folder, suffixes) for folder in folders[:_SHOWN]}
    listed = ", ".join(f"{folder}/ ({number} such files)" for folder, number in counts.items())
    told = f"'{root}' holds the folders {listed}{', …' if len(folders) > _SHOWN else ''}." if folders else ""
    if guess := _guess(first, [folder for folder in counts if counts[folder]], what):
        return f"{told} Did you mean {typed(key, '/'.join((guess, *rest)))}?"
    here = sum(path.suffix.lower() in suffixes for path in root.iterdir() if path.is_file())
    if here:
        return (
            f"{told} '{root}' itself holds {here} such files: {typed(key, '.')}; where images and masks lie in one "
            f"folder, tell them apart by patterns, as in {typed('data.source.image_key', '(.+)_image')} "
            f"{typed('data.source.mask_key', '(.+)_mask')}."
        )
    return told or f"'{root}' is empty."


def _without_root(root: Path) -> str:
    there = next(parent for parent in root.absolute().parents if parent.is_dir())
    lost = root.absolute().relative_to(there).parts[0]
    folders = _folders(there)
    near = _nearest(lost, folders)
    guess = f" Did you mean {typed('data.source.root', str(there / near))}?" if near else ""
    listed = ", ".join(folders[:_SHOWN]) + (", …" if len(folders) > _SHOWN else "")
    return f"'{root}' does not exist; '{there}' holds {f'the folders {listed}' if folders else 'no folders'}.{guess}"


def _folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))


def _count(folder: Path, suffixes: Sequence[str]) -> int:
    return sum(path.suffix.lower() in suffixes for path in islice(files_below(folder), _COUNTED))


def _guess(wanted: str, folders: Sequence[str], what: str) -> str:
    """The folder that was likely meant: the nearest name, else one that is often used for such files."""
    if near := _nearest(wanted, folders):
        return near
    lower = {folder.lower(): folder for folder in folders}
    return next((lower[name] for name in _USUAL.get(what, "").split() if name in lower), "")


def _nearest(wanted: str, folders: Sequence[str]) -> str:
    lower = {folder.lower(): folder for folder in folders}
    return next((lower[name] for name in get_close_matches(wanted.lower(), lower, n=1, cutoff=0.6)), "")


class _Affixes(NamedTuple):
    """What stands before and after the part that an image and its mask share."""

    image: tuple[str, str]
    mask: tuple[str, str]

    @property
    def length(self) -> int:
        return sum(map(len, (*self.image, *self.mask)))


def key_advice(images: Sequence[str], masks: Sequence[str]) -> str:
    """The patterns under which images find their masks, where a prefix, a suffix or folders keep them apart.

    Args:
        images, masks: paths without suffix.

    Returns:
        A sentence with the overrides to type; empty where no such pattern pairs more than are paired already.
    """
    paired = {*images} & {*masks}
    best, matched = None, len(paired)
    for affixes in _candidates(images, masks):
        number = len({*_cores(images, affixes.image)} & {*_cores(masks, affixes.mask)})
        if number > matched or (number == matched and best is not None and affixes.length < best.length):
            best, matched = affixes, number
    names, others = ({_name(key) for key in keys} for keys in (images, masks))
    if len(names & others) > matched and len(names) == len(images) and len(others) == len(masks):
        anywhere = r"(?:.*/)?([^/]+)"
        overrides = [typed(f"data.source.{kind}_key", anywhere) for kind in ("image", "mask")]
        return _told(overrides, len(names & others), len(images))
    if best is None:
        return ""
    patterns = {"image_key": _pattern(best.image), "mask_key": _pattern(best.mask)}
    overrides = [typed(f"data.source.{key}", pattern) for key, pattern in patterns.items() if pattern != "(.+)"]
    return _told(overrides, matched, len(images))


def _told(overrides: Sequence[str], matched: int, images: int) -> str:
    return f"With {' '.join(overrides)} {matched} of {images} images have theirs."


def _candidates(images: Sequence[str], masks: Sequence[str]) -> Iterator[_Affixes]:
    """Affixes that would pair a few of the images with one of the masks, the most frequent first."""
    found: Counter[_Affixes] = Counter()
    step = max(1, len(images) // 8)
    for image in images[::step][:8]:
        for mask in masks[:5000]:
            start, end = _common(image, mask), _common(image[::-1], mask[::-1])
            if start:
                found[_Affixes(("", image[start:]), ("", mask[start:]))] += 1
            if end:
                found[_Affixes((image[: len(image) - end], ""), (mask[: len(mask) - end], ""))] += 1
    yield from (affixes for affixes, _ in found.most_common(16))


def _common(one: str, other: str) -> int:
    """How many characters two texts share at their start."""
    shortest = min(len(one), len(other))
    return next((place for place in range(shortest) if one[place] != other[place]), shortest)


def _cores(keys: Sequence[str], affixes: tuple[str, str]) -> Iterator[str]:
    before, after = affixes
    for key in keys:
        if key.startswith(before) and key.endswith(after) and len(key) > len(before) + len(after):
            yield key[len(before) : len(key) - len(after)]


def _pattern(affixes: tuple[str, str]) -> str:
    before, after = (_SPECIAL.sub(r"\\\1", affix) for affix in affixes)
    return f"{before}(.+){after}"


def _name(key: str) -> str:
    return key.rpartition("/")[2]
