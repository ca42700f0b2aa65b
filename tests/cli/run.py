"""Runs `kstore` in this process, as its entry point does."""

import json
from typing import Any, NamedTuple

import pytest

from kstore.cli.main import main


class Ran(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What `--json` printed."""
        return [json.loads(line) for line in self.out.splitlines()]

    def rows_of(self, kind: str) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["type"] == kind]


class Kstore:
    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def __call__(self, *arguments: object) -> Ran:
        self._capfd.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = self._capfd.readouterr()
        return Ran(status, out, err)
