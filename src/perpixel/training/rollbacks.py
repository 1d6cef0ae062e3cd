"""How far a training that broke goes back, and how often."""

from __future__ import annotations

from pathlib import Path

from perpixel.training.callbacks import NonFinite
from perpixel.training.checkpoint_index import Entry
from perpixel.training.store import CheckpointStore

MOST_ROLLBACKS = 10  # in a row: a training that gets no further than that is not helped by other samples


class Rollbacks:
    """Chooses the states that a training goes on from; every rank comes to the same choice.

    The newest intact one, at first. When no later step than before is reached from it the state itself may be the
    fault, since what an update broke shows in the next step at the earliest: then the one before it is taken.

    Args:
        store: holds the states.
        newest: the one to begin with, found intact already (a second look would read it, and warn, twice); None for the
            beginning.
    """

    def __init__(self, store: CheckpointStore, newest: tuple[Path, Entry] | None = None) -> None:
        self.store = store
        self._newest = newest
        self._furthest = self._in_a_row = 0
        self._began_from: Entry | None = None
        self._passed_over: set[str] = set()

    def may_go_back(self, found: NonFinite) -> bool:
        """Whether to try once more; False when training gets no further."""
        if found.step.number > self._furthest:
            self._furthest, self._in_a_row = found.step.number, 0
        elif self._began_from is not None:
            self._pass_over(self._began_from)
        self._in_a_row += 1
        return self._in_a_row <= MOST_ROLLBACKS

    def _pass_over(self, began_from: Entry) -> None:
        """That state, if there is one before it, and in any case what it led to."""
        left = [entry for entry in self.store.entries("state") if entry.file not in self._passed_over]
        has_earlier = any(entry.step < began_from.step for entry in left)
        later = {entry.file for entry in left if entry.step > began_from.step}
        self._passed_over |= later | ({began_from.file} if has_earlier else set())

    def start(self) -> Path | None:
        """The state to go on from; None for the beginning.

        Raises:
            CheckpointError: there were states, and all of them are damaged.
        """
        found = self.store.to_go_on_from(self._passed_over) if self._in_a_row else self._newest
        self._began_from = found[1] if found else None
        return found[0] if found else None

    def let_go(self, is_first_rank: bool = True) -> None:
        """Delete the states that were passed over, so that no resumed run takes them up, and new ones get their names.

        Every rank calls; the first one deletes, before any of them can write.
        """
        for entry in self.store.entries("state") if is_first_rank else ():
            if entry.file in self._passed_over:
                self.store.drop(entry)
        self._passed_over = set()
