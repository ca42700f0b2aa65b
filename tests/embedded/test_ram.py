"""Directories in memory, where anybody may put things: what was left is swept, what is not ours harms nobody."""

import os
import threading
from pathlib import Path

import pytest

import kstore
from kstore.embedded import ram

# More than any system's kernel.pid_max.
NO_PROCESS = 2**22 + 1


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's memory file system, as this test has it."""
    monkeypatch.setattr(ram, "SHARED_MEMORY", str(tmp_path))
    monkeypatch.setattr(ram, "LEAST_ROOM", 0)
    return tmp_path


def left_by(memory: Path, pid: int) -> Path:
    directory = memory / f"{ram.PREFIX}-{os.getuid()}-{pid}-x"
    directory.mkdir(0o700)
    return directory


def open_in_memory(memory: Path) -> None:
    """Not for long: nothing there may be waited for."""
    opened: list[str] = []

    def work() -> None:
        with kstore.Log.open(None) as log:
            opened.append(log.path)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(10)
    assert [Path(path).parent.parent for path in opened] == [memory]


def test_what_was_left_is_removed_and_what_is_in_use_is_not(memory: Path) -> None:
    left, used = left_by(memory, NO_PROCESS), left_by(memory, os.getpid())
    open_in_memory(memory)
    assert not left.exists()
    assert used.exists()


def test_a_name_with_a_number_that_no_process_can_have_is_passed_over(memory: Path) -> None:
    """Such a directory, which any user could make, kept every log in memory from being opened."""
    left_by(memory, 99999999999999999999)
    open_in_memory(memory)


def test_a_lock_that_is_no_file_is_not_waited_for(memory: Path) -> None:
    """A pipe was opened for reading, which waits for a writer: no log at all could be opened meanwhile."""
    pipe = left_by(memory, NO_PROCESS)
    os.mkfifo(pipe / ".lock")
    link = left_by(memory, NO_PROCESS + 1)
    (link / ".lock").symlink_to(pipe / ".lock")
    open_in_memory(memory)


def test_a_directory_that_cannot_be_looked_into_is_passed_over(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of another user raised PermissionError."""
    directory = left_by(memory, NO_PROCESS)

    def refuse(path: str) -> bool:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(ram, "is_locked", refuse)
    open_in_memory(memory)
    assert directory.exists()


def test_what_belongs_to_another_user_is_left_alone(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)  # who made it is another user then
    directory = left_by(memory, NO_PROCESS)
    open_in_memory(memory)
    assert directory.exists()
