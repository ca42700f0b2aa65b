"""An event-sourced counter: what happened is kept, what is follows from it.

    python examples/counter.py counters apples +3
    python examples/counter.py counters apples -1
    python examples/counter.py counters

A command is decided on the state that follows from the events so far, and its event is appended only if no other came
in between (`expected_offset`); else it is decided again. A snapshot beside the log saves reading it all.
"""

import json
import os
import sys
from collections import Counter

import kstore


class Counters:
    """The state that follows from the first `offset` events of a log."""

    def __init__(self, log: kstore.Log, snapshot_path: str) -> None:
        self._log = log
        self._snapshot_path = snapshot_path
        self.counts: Counter[str] = Counter()
        self.offset = 0
        if os.path.exists(snapshot_path):
            with open(snapshot_path, encoding="utf-8") as file:
                snapshot = json.load(file)
            self.counts.update(snapshot["counts"])
            self.offset = snapshot["offset"]

    def catch_up(self) -> None:
        for record in self._log.read(self.offset):
            self.apply((record.key or b"").decode(), int(record.value or b"0"))
            self.offset = record.offset + 1

    def apply(self, name: str, change: int) -> None:
        self.counts[name] += change

    def add(self, name: str, change: int) -> int:
        """Counts up or down, never below zero; returns the new count. Raises ValueError."""
        while True:
            self.catch_up()
            if self.counts[name] + change < 0:
                raise ValueError(f"{name} is {self.counts[name]}, and cannot go down by {-change}")
            try:
                self._log.append(b"%d" % change, key=name.encode(), expected_offset=self.offset)
            except kstore.OffsetConflictError:
                continue  # somebody else was first: decide again
            self.catch_up()
            return self.counts[name]

    def save(self) -> None:
        """A snapshot is never newer than what is on the disk of the log."""
        self._log.flush()
        with open(self._snapshot_path + ".new", "w", encoding="utf-8") as file:
            json.dump({"offset": self.offset, "counts": self.counts}, file)
        os.replace(self._snapshot_path + ".new", self._snapshot_path)


def main(directory: str, name: str | None = None, change: str = "+1") -> None:
    with kstore.Log.open(directory) as log:
        counters = Counters(log, os.path.join(directory, "counters.json"))
        if name is None:
            counters.catch_up()
            for each, count in sorted(counters.counts.items()):
                print(f"{each} {count}")
            return
        try:
            print(f"{name} {counters.add(name, int(change))}")
        except ValueError as error:
            sys.exit(str(error))
        counters.save()


if __name__ == "__main__":
    main(*sys.argv[1:])
