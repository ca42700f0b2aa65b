"""What follows a batch that the disk did not take is refused as it was."""

import pytest

from kstore.errors import KafkaStorageError
from kstore.log.refused_appends import MOST, RefusedAppends


def test_the_first_refused_sequence_of_an_epoch_is_the_one_to_be_sent_again() -> None:
    refused = RefusedAppends()
    refused.note(1, 0, 5)
    refused.note(1, 0, 6)
    for sequence in (4, 5):
        refused.check(1, 0, sequence)
    for sequence in (6, 7):
        with pytest.raises(KafkaStorageError):
            refused.check(1, 0, sequence)
    refused.check(2, 0, 6)
    refused.forget(1)
    refused.check(1, 0, 6)


def test_another_epoch_is_not_refused() -> None:
    refused = RefusedAppends()
    refused.note(1, 3, 5)
    refused.check(1, 2, 9)
    refused.check(1, 4, 0)


def test_so_many_producers_are_remembered_and_no_more() -> None:
    refused = RefusedAppends()
    for producer_id in range(MOST + 1):
        refused.note(producer_id, 0, 0)
    refused.check(0, 0, 1)
    with pytest.raises(KafkaStorageError):
        refused.check(MOST, 0, 1)
