"""What commands say: tables for people, one JSON document a line for programs, progress for who waits.

Rows are dictionaries; JSON gets all of a row, a table its columns. Plain code: Rich and its like would cost every
start two to five times what the whole command takes, for tables of left- and right-justified words.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple, TextIO

Row = Mapping[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Separators without blanks: a dump of a large segment is a tenth smaller.
encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def print_json(row: Row, out: TextIO | None = None) -> None:
    (out or sys.stdout).write(encode_json(row) + "\n")


def timestamp_text(timestamp_ms: int) -> str:
    """A timestamp in UTC, to the millisecond; the number itself where it is no time."""
    if timestamp_ms < 0:
        return "-"
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    text = second_text(seconds)
    return str(timestamp_ms) if text is None else f"{text}.{milliseconds:03}Z"


@lru_cache(64)
def second_text(seconds: int) -> str | None:
    """Records that follow each other are mostly of the same second."""
    try:
        return (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return None


def size_text(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def count_text(count: int, noun: str) -> str:
    plural = noun[:-1] + "ies" if noun.endswith(("ry", "ty")) else noun + "es" if noun.endswith("ch") else noun + "s"
    return f"{count} {noun if count == 1 else plural}"


class Column(NamedTuple):
    """A column of a table: its title, the row's key, and how wide it is at least; numbers stand on the right."""

    title: str
    key: str
    width: int = 0
    right: bool = False


def cell_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ",".join(map(cell_text, value))
    return one_line(str(value))


def one_line(text: str) -> str:
    """Text of anybody's choosing, as groups and clients have for names, without what a terminal acts on."""
    return text if text.isprintable() else "".join(map(escape, text))


def escape(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def format_line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = [
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return "  ".join(parts).rstrip()


def uses_color(out: TextIO) -> bool:
    return out.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def heading(text: str, out: TextIO) -> str:
    return f"\x1b[1m{text}\x1b[0m" if uses_color(out) else text


def print_table(columns: Sequence[Column], rows: Iterable[Row], *, as_json: bool = False) -> None:
    """All rows at once, for what fits a screen or ten; the columns are as wide as what is in them."""
    out = sys.stdout
    if as_json:
        for row in rows:
            print_json(row)
        return
    cells = [[cell_text(row.get(column.key)) for column in columns] for row in rows]
    widths = [
        max([len(column.title), column.width, *(len(line[index]) for line in cells)])
        for index, column in enumerate(columns)
    ]
    out.write(heading(format_line([column.title for column in columns], columns, widths), out) + "\n")
    for line in cells:
        out.write(format_line(line, columns, widths) + "\n")


class Progress:
    """How far a long command has come, on standard error where that is a terminal, five times a second at most."""

    INTERVAL = 0.2

    def __init__(self, what: str, total: int, *, enabled: bool = True) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._enabled = enabled and sys.stderr.isatty()
        self._shown = time.monotonic()
        self._width = 0

    def advance(self, done: int, what: str | None = None) -> None:
        self.done += done
        if not self._enabled:
            return
        now = time.monotonic()
        if now - self._shown < self.INTERVAL:
            return
        self._shown = now
        share = f"{min(100, 100 * self.done // self.total)} % of {size_text(self.total)}" if self.total else ""
        line = f"{self.what}: {share}  {what or ''}"[:120]
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def clear(self) -> None:
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
