"""Codes of the C core become the exceptions that the floors above know."""

import errno

import pytest

from kstore._native.status import raise_status
from kstore.errors import CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError


@pytest.mark.parametrize("status", [0, 1, 2**62])
def test_counts_are_no_errors(status: int) -> None:
    assert raise_status(status) == 0


def test_errno_becomes_the_fitting_os_error() -> None:
    with pytest.raises(FileNotFoundError) as refusal:
        raise_status(-errno.ENOENT, "some/file")
    assert refusal.value.filename == "some/file"
    with pytest.raises(BrokenPipeError):
        raise_status(-errno.EPIPE)
    with pytest.raises(OSError) as full:  # noqa: PT011
        raise_status(-errno.ENOSPC)
    assert full.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (-5001, CorruptRecordError),
        (-5002, CorruptRecordError),
        (-5003, UnsupportedForMessageFormatError),
        (-5004, InvalidRecordError),
    ],
)
def test_codes_of_the_core_become_refusals(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="in some/file"):
        raise_status(status, "some/file")
