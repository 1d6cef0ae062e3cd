"""The label policy: one file that says what the classes are and what stored labels become.

    name: streets
    ignore: [255, sky]              # stored values, or names of the data set's own classes, without a label
    classes:
      - name: vehicle
        from: [car, truck, bus]     # merged; or stored values, as [26, 27, 28]
        colour: [0, 0, 142]
        rule: Everything that is driven, without its riders. Trailers count, parked bicycles do not.
      - name: person                # without 'from': the class of the same name
        colour: [220, 20, 60]
        rule: ...

Whole numbers are always what the files store, never class indices: ADE20K's wall is 1, Cityscapes' road 7 (0 in
``labelTrainIds`` files). Colours and shapes store no such numbers, so there classes go by their names.

A single label needs no list (``ignore: 255``, ``from: car``), and a class that is only a name may be written as one
(``classes: [road, sky]``). Classes of the data set that no entry mentions are an error, so that nothing vanishes
unsaid; ``rest: ignore`` leaves them out on purpose (a subset).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from perpixel.config import ConfigError, read_yaml
from perpixel.data.masks.palettes import rgb, voc_colours
from perpixel.data.masks.reader import IndexMasks, MaskReader, in_short
from perpixel.labels import PADDING_INDEX, LabelSpace
from perpixel.windows import Window

Origin = int | str
_KEYS = {"name", "ignore", "rest", "classes"}
_FARTHEST = 1 << 24  # a table reaches to the farthest stored value
_CLASS_KEYS = {"name", "from", "colour", "rule"}


class _Said(NamedTuple):
    """A label, where the policy says it, and the class index that it becomes."""

    where: str
    origin: Origin
    becomes: int


@dataclass(frozen=True)
class Policy:
    """What labels mean.

    Attributes:
        name: of the policy.
        labels: the classes in the order of their indices; 255 is ignored.
        origins: for each class, the stored values or class names that become it.
        ignored: stored values or class names without a label.
        rest_ignored: whether labels that are not mentioned are ignored rather than refused.
        rules: for each class, what an annotator needs to know.
    """

    name: str
    labels: LabelSpace
    origins: tuple[tuple[Origin, ...], ...]
    ignored: tuple[Origin, ...]
    rest_ignored: bool
    rules: dict[str, str]

    @classmethod
    def load(cls, path: str | Path) -> Policy:
        """Read a policy file.

        Raises:
            ValueError: the file is missing, is no such YAML, or holds an unknown key (names it and the nearest known)
                or a value of another form (names the class and the form).
        """
        content = _content(Path(path).expanduser())
        _known_keys(content, _KEYS, f"policy '{path}'")
        if content.get("rest", "ignore") != "ignore":
            raise ValueError(
                f"policy '{path}', rest: {content['rest']!r} is unknown: write 'rest: ignore', or leave it out."
            )
        entries = _entries(content.get("classes"), f"policy '{path}'")
        names = tuple(entry["name"] for entry in entries)
        where = [f"policy '{path}', class '{name}'" for name in names]
        given = [entry.get("colour", colour) for entry, colour in zip(entries, voc_colours(len(names)), strict=True)]
        palette = tuple(rgb(colour, f"{place}: colour") for colour, place in zip(given, where, strict=True))
        policy = cls(
            name=_text(content.get("name", Path(path).stem), f"policy '{path}', name", "a name"),
            labels=LabelSpace(names, palette, PADDING_INDEX),
            origins=tuple(_origins(entry, place) for entry, place in zip(entries, where, strict=True)),
            ignored=_labels(content.get("ignore"), f"policy '{path}', ignore"),
            rest_ignored=content.get("rest") == "ignore",
            rules={
                entry["name"]: _text(entry["rule"], f"{place}: rule", "one text")
                for entry, place in zip(entries, where, strict=True)
                if "rule" in entry
            },
        )
        policy._refuse_doubles()
        return policy

    def on_values(self) -> IndexMasks:
        """A reader of masks whose stored values the policy names.

        Raises:
            ValueError: the policy names classes where masks hold nothing but numbers, or a number that no mask holds.
        """
        named = [one.origin for one in self._said() if not isinstance(one.origin, int)]
        if named:
            raise ValueError(
                f"policy '{self.name}' refers to '{named[0]}' by name, but the masks hold numbers: write 'from: [3]' "
                "with the stored value, or give data.source.classes."
            )
        for one in self._said():
            if abs(int(one.origin)) >= _FARTHEST:
                raise ValueError(
                    f"policy '{self.name}', {one.where}: no mask stores {one.origin}: "
                    f"write a value within ±{_FARTHEST:,}."
                )
        table: dict[int, int] = dict.fromkeys(range(256), PADDING_INDEX) if self.rest_ignored else {}
        table |= {int(value): PADDING_INDEX for value in self.ignored}
        table |= {int(value): index for index, values in enumerate(self.origins) for value in values}
        return IndexMasks(self.labels, table)

    def by_name(self) -> dict[str, int]:
        """Class index of each name, 255 for those without a label.

        Raises:
            ValueError: the policy says stored values.
        """
        said = list(self._said())
        for one in said:
            if isinstance(one.origin, int):
                raise self._nameless(one)
        return {str(one.origin): one.becomes for one in said}

    def on_classes(self, reader: MaskReader) -> MaskReader:
        """A reader that turns another reader's classes into the policy's.

        Raises:
            ValueError: the policy says a class or stored value that the data set has not, makes a class of what has no
                label there, mentions a class twice, or leaves one unmentioned.
        """
        table = np.full(256, PADDING_INDEX, np.uint8)
        mentioned: dict[int, _Said] = {}
        for one in self._said():
            own = self._own_index(one, reader)
            if own == reader.labels.fill:
                self._refuse_unlabelled(one)
                continue
            self._refuse_two_ways(mentioned.setdefault(own, one), one, reader.labels.names[own])
            table[own] = one.becomes
        unsaid = [name for index, name in enumerate(reader.labels.names) if index not in mentioned]
        if unsaid and not self.rest_ignored:
            raise ValueError(
                f"policy '{self.name}' does not say what becomes of {len(unsaid)} classes of the data set, first "
                f"'{unsaid[0]}': add it to a class's 'from', to 'ignore', or write 'rest: ignore'."
            )
        return Relabelled(reader, self.labels, table)

    def _said(self) -> Iterator[_Said]:
        for origin in self.ignored:
            yield _Said("ignore", origin, PADDING_INDEX)
        for index, (name, origins) in enumerate(zip(self.labels.names, self.origins, strict=True)):
            for origin in origins:
                yield _Said(f"class '{name}'", origin, index)

    def _refuse_doubles(self) -> None:
        seen: set[Origin] = set()
        for one in self._said():
            if one.origin in seen:
                raise ValueError(f"policy '{self.name}' says twice what becomes of '{one.origin}'.")
            seen.add(one.origin)

    def _own_index(self, one: _Said, reader: MaskReader) -> int:
        """The data set's own class index, or its ignore value."""
        if isinstance(one.origin, str):
            return self._named(one.origin, reader.labels.names)
        if reader.table is None:
            raise self._nameless(one)
        fill = reader.labels.fill
        if one.origin == fill and one.becomes == PADDING_INDEX:  # one policy for several sets: some never store it
            return fill
        if one.origin not in reader.table:
            raise ValueError(
                f"policy '{self.name}', {one.where}: the data set stores no {one.origin}; its values are "
                f"{in_short(reader.table)}."
            )
        return reader.table[one.origin]

    def _named(self, name: str, own: Sequence[str]) -> int:
        if name not in own:
            near = difflib.get_close_matches(name, own, n=1)
            raise ValueError(
                f"policy '{self.name}' names the class '{name}', which the data set does not have"
                + (f"; did you mean '{near[0]}'?" if near else f": it has {', '.join(own[:8])}, …")
            )
        return own.index(name)

    def _nameless(self, one: _Said) -> ValueError:
        return ValueError(
            f"policy '{self.name}', {one.where}: {one.origin} is a stored value, but the data set's files do not hold "
            "one number for each class: write the class's name (in quotes where it is a number)."
        )

    def _refuse_unlabelled(self, one: _Said) -> None:
        if one.becomes != PADDING_INDEX:
            raise ValueError(
                f"policy '{self.name}', {one.where}: what the data set stores as {one.origin} has no label in it, so "
                "there is nothing to learn from: take it out of 'from'."
            )

    def _refuse_two_ways(self, first: _Said, one: _Said, name: str) -> None:
        """Two stored values of one class may stand in one list; all else would be said twice."""
        numbers = isinstance(first.origin, int) and isinstance(one.origin, int)
        if first == one or (numbers and first.where == one.where):
            return
        why = ", and the data set takes both values for this class" if numbers else ""
        raise ValueError(
            f"policy '{self.name}' says twice what becomes of the data set's class '{name}': as {first.origin!r} in "
            f"{first.where} and as {one.origin!r} in {one.where}{why}. Leave one of them out."
        )


class Relabelled(MaskReader):
    """Another reader's class indices, looked up in a table of 256.

    Attributes:
        table_of_indices: (256,) the reader's class index → class index.
    """

    def __init__(self, reader: MaskReader, labels: LabelSpace, table: npt.NDArray[np.uint8]) -> None:
        self.reader = reader
        self.labels = labels
        self.table_of_indices = table

    def __call__(self, path: Path, window: Window | None = None) -> npt.NDArray[np.uint8]:
        """Class indices of a mask file, (H, W) uint8."""
        return self.table_of_indices[self.reader(path, window)]

    def shape(self, path: Path) -> tuple[int, int]:
        """(H, W), from the other reader."""
        return self.reader.shape(path)

    def key(self) -> str:
        """The other reader's, and the table."""
        return self.reader.key() + repr(self.table_of_indices.tolist())


def apply_policy(path: str | None, reader: MaskReader) -> tuple[MaskReader, dict[str, str]]:
    """A reader under the policy at ``path``, and the policy's rules by class; the reader itself where there is none."""
    if path is None:
        return reader, {}
    policy = Policy.load(path)
    return policy.on_classes(reader), policy.rules


def _content(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except FileNotFoundError:
        raise ValueError(f"the policy file '{path}' does not exist: see data.policy.") from None
    except ConfigError as error:
        raise ValueError(f"policy '{path}' is not the YAML of a policy: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"policy '{path}' must be a YAML mapping with the keys {', '.join(sorted(_KEYS))}.")
    return {str(key): value for key, value in content.items()}


def _entries(given: Any, where: str) -> list[Mapping[str, Any]]:
    """The classes; a bare name is one."""
    if not given:
        raise ValueError(f"{where} names no classes.")
    form = "write 'classes:' as a list of names or of mappings, as '- {name: road, from: [7], colour: [128, 64, 128]}'."
    if not isinstance(given, list):
        raise ValueError(f"{where}: classes is a {type(given).__name__}: {form}")
    entries = [{"name": entry} if isinstance(entry, str) else entry for entry in given]
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where}: class {number} reads {entry!r}: {form}")
        _known_keys(entry, _CLASS_KEYS, f"{where}, class '{entry.get('name')}'")
        _text(entry["name"], f"{where}, class {number}, name", "a name")
    return entries


def _text(given: Any, where: str, wanted: str) -> str:
    if not isinstance(given, str):
        raise ValueError(
            f"{where}: {given!r} is no text: write {wanted}, in quotes what YAML takes for something else."
        )
    return given


def _origins(entry: Mapping[str, Any], where: str) -> tuple[Origin, ...]:
    """What becomes a class; one that nothing becomes would be trained for and never seen."""
    origins = _labels(entry.get("from", entry["name"]), where)
    if not origins:
        raise ValueError(
            f"{where}: 'from' is empty, so nothing becomes this class: write stored values or names, leave 'from' out "
            "to take the class of the same name, or take the class out."
        )
    return origins


def _labels(given: Any, where: str) -> tuple[Origin, ...]:
    """Stored values or names; a single one needs no list."""
    labels = given if isinstance(given, list) else [] if given is None else [given]
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, int | str):
            raise ValueError(
                f"{where}: {label!r} is no stored value or name: write whole numbers or names, as [255, sky] (and in "
                "quotes what YAML takes for something else, as 'on')."
            )
    return tuple(labels)


def _known_keys(content: Mapping[str, Any], known: Sequence[str] | set[str], where: str) -> None:
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}."
            raise ValueError(f"{where}: unknown key '{key}'; {hint}")
    if "classes" not in known and "name" not in content:
        raise ValueError(f"{where}: each class needs a name.")
