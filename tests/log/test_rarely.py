"""What is said again and again is said now and then."""

import logging

import pytest

from kstore.log import rarely
from kstore.log.rarely import Rarely


def test_line_about_the_same_is_held_back_and_counted(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(rarely.time, "monotonic", lambda: now)
    lines = Rarely(logging.getLogger("test"), 10)
    for _ in range(5):
        lines.log("disk", logging.WARNING, "no room for %s", "x")
        lines.log("other", logging.WARNING, "another thing")
    assert [record.getMessage() for record in caplog.records] == ["no room for x", "another thing"]
    now += 10
    lines.log("disk", logging.WARNING, "no room for %s", "y")
    assert caplog.messages[-1] == "no room for y (4 more like it since the last one)"
