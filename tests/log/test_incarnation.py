"""An incarnation lasts as long as nothing that was written can have been lost."""

from pathlib import Path

import pytest

from kstore.log.incarnation import INCARNATION_FILE, continue_incarnation, end_incarnation, read_boot_id
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
        b"version=2\nincarnation=x\nboot.id=boot 1\n",
        b"version=1\nboot.id=boot 1\n",
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
    one = continue_incarnation(directories(tmp_path, "a"), "boot 1")
    other = continue_incarnation(directories(tmp_path, "b"), "boot 1")
    assert continue_incarnation(directories(tmp_path, "a", "b"), "boot 1") not in (one, other)


def test_a_directory_whose_disk_failed_ends_it(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    end_incarnation(dirs[1].path)
    end_incarnation(str(tmp_path / "missing"))
    assert continue_incarnation(dirs, "boot 1") != first


def test_a_directory_that_cannot_be_read_goes_offline_and_the_others_go_on(tmp_path: Path) -> None:
    dirs = directories(tmp_path, "a", "b")
    first = continue_incarnation(dirs, "boot 1")
    (tmp_path / "b" / INCARNATION_FILE).unlink()
    (tmp_path / "b" / INCARNATION_FILE).mkdir()
    assert continue_incarnation(dirs, "boot 1") == first
    assert dirs[0].failure is None
    assert dirs[1].failure is not None


def test_the_machine_says_in_which_start_it_is() -> None:
    assert read_boot_id() == read_boot_id() != ""
