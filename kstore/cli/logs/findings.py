"""What `kstore log verify` finds, and how it is told.

*Damage* is what makes data unreadable, lost, doubled or not found; the exit status counts it. A *notice* is what is out
of the ordinary and harmless: left-overs that the next start removes, files that it builds anew. Of a kind of finding
people are shown the first ten a file, programs all.
"""

import io
from collections import Counter
from typing import Any, TextIO

from kstore.cli.output import Progress, encode_json

DAMAGE = "damage"
NOTICE = "notice"
SHOWN_OF_A_KIND = 10


class Findings:
    """Tells each finding as it is made. `damage` and `notices` count them."""

    def __init__(self, out: TextIO, *, as_json: bool = False, progress: Progress | None = None) -> None:
        self._out = out
        self._progress = progress
        self._as_json = as_json
        self._told: Counter[tuple[str, str]] = Counter()
        self.damage = 0
        self.notices = 0
        self.checked: Counter[str] = Counter()

    def damaged(self, file: str, code: str, message: str, position: int | None = None) -> None:
        self.damage += 1
        self._tell(DAMAGE, file, code, message, position)

    def note(self, file: str, code: str, message: str, position: int | None = None) -> None:
        self.notices += 1
        self._tell(NOTICE, file, code, message, position)

    def _tell(self, severity: str, file: str, code: str, message: str, position: int | None) -> None:
        if self._progress is not None:
            self._progress.clear()
        if self._as_json:
            row: dict[str, Any] = {"type": "finding", "severity": severity, "code": code, "file": file}
            if position is not None:
                row["position"] = position
            self._out.write(encode_json(row | {"message": message}) + "\n")
            return
        self._told[file, code] += 1
        if self._told[file, code] <= SHOWN_OF_A_KIND:
            where = "" if position is None else f" position {position}:"
            self._out.write(f"{severity.upper()} [{code}] {file}:{where} {message}\n")

    def take(self, other: "Findings", told: str) -> None:
        """Tells what another one has found and `told`."""
        if self._progress is not None and told:
            self._progress.clear()
        self._out.write(told)
        self.damage += other.damage
        self.notices += other.notices
        self.checked += other.checked

    def held_back(self) -> "tuple[Findings, io.StringIO]":
        """One like this whose findings wait to be told."""
        out = io.StringIO()
        return Findings(out, as_json=self._as_json), out

    def end_of_file(self, file: str) -> None:
        """Tells how many findings of a file were not shown, and forgets it."""
        for key in [key for key in self._told if key[0] == file]:
            hidden = self._told.pop(key) - SHOWN_OF_A_KIND
            if hidden > 0:
                self._out.write(f"... [{key[1]}] {file}: and {hidden} more\n")
