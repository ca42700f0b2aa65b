"""An incarnation lasts as long as nothing that was written can have been lost."""

import errno
from pathlib import Path

import pytest

from kstore.log.incarnation import INCARNATION_FILE, begin_incarnation, continue_incarnation, end_incarnation
from kstore.log.load_dirs import CLEAN_SHUTDOWN_FILE
from kstore.log.log_dir import LogDir


def directories(tmp_path: Path, *names: str) -> list[LogDir]:
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    return [LogDir(str(tmp_path / name)) for name in names]


def test_it_goes_on_after_a_crash_of_the_process_and_ends_with_one_of_the_machine(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    assert continue_incarnation(dirs, "boot 1") == first
    second = continue_incarnation(dirs, "boot 2")
    assert second != first
    assert continue_incarnation(dirs, "boot 2") == second


def test_it_goes_on_over_an_orderly_stop_and_a_start_of_the_machine(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    for name in ("a", "b"):
        (tmp_path / name / CLEAN_SHUTDOWN_FILE).touch()
    assert continue_incarnation(dirs, "boot 2") == first
    # The directories are used in this start of the machine: only its crash is one.
    for name in ("a", "b"):
        (tmp_path / name / CLEAN_SHUTDOWN_FILE).unlink()
    assert continue_incarnation(dirs, "boot 2") == first
    assert continue_incarnation(dirs, "boot 3") != first


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"version=1\n",
        b"version=2\nincarnation=AAAAAAAAAAAAAAAAAAAAAA\nboot.id=boot 1\ndirectories=2\n",
        b"version=1\nincarnation=x\nboot.id=boot 1\ndirectories=2\n",
        b"version=1\nboot.id=boot 1\ndirectories=2\n",
        b"\xff\x00",
    ],
)
def test_a_directory_that_is_new_or_damaged_ends_it(tmp_path: Path, content: bytes | None) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    file = tmp_path / "b" / INCARNATION_FILE
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert continue_incarnation(dirs, "boot 1") != first


def test_directories_of_different_incarnations_begin_another_one(tmp_path: Path) -> None:
    one = continue_incarnation(directories(tmp_path, "a", "b"), "boot 1")
    other = continue_incarnation(directories(tmp_path, "c", "d"), "boot 1")
    assert continue_incarnation(directories(tmp_path, "a", "c"), "boot 1") not in (one, other)


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")])
def test_other_directories_than_before_end_it(tmp_path: Path, names: tuple[str, ...]) -> None:
    """One that is not there any more may have held the only copy."""
    first = continue_incarnation(directories(tmp_path, "a", "b"), "boot 1")
    assert continue_incarnation(directories(tmp_path, *names), "boot 1") != first


@pytest.mark.parametrize("failed_is_back", [True, False])
def test_a_disk_that_failed_ends_it_for_all_directories(tmp_path: Path, failed_is_back: bool) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    dirs[1].fail("flushing", OSError(5, "injected"))
    end_incarnation(dirs)
    assert not (tmp_path / "a" / INCARNATION_FILE).exists()
    again = directories(tmp_path, "a", "b") if failed_is_back else directories(tmp_path, "a")
    assert continue_incarnation(again, "boot 1") != first


def test_a_directory_that_cannot_be_read_goes_offline_and_another_one_begins(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    (tmp_path / "b" / INCARNATION_FILE).unlink()
    (tmp_path / "b" / INCARNATION_FILE).mkdir()
    assert continue_incarnation(dirs, "boot 1") != first
    assert dirs[0].failure is None
    assert dirs[1].failure is not None


def test_a_full_disk_starts_and_the_next_start_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dirs = directories(tmp_path, "a")
    first = continue_incarnation(dirs, "boot 1")

    def full(path: str, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "injected")

    with monkeypatch.context() as patched:
        patched.setattr("kstore.log.incarnation.replace_file", full)
        assert continue_incarnation(dirs, "boot 1") == first  # nothing is to be written
        second = continue_incarnation(dirs, "boot 2")
    assert dirs[0].failure is None
    assert continue_incarnation(dirs, "boot 2") not in (first, second)


def test_what_a_recovery_has_lost_begins_another_one_and_that_one_goes_on(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    second = begin_incarnation(dirs, "boot 1")
    assert second != first
    assert continue_incarnation(dirs, "boot 1") == second
