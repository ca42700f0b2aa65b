"""Each anomaly in a history made by hand, and histories without any."""

import pytest

from tests.chaos.checker import anomalies
from tests.chaos.history import ACKED, UNKNOWN, Commit, EndOffset, History, Poll, Read, Send


def sends(*values: str, producer: str = "p", partition: int = 0, outcome: str = ACKED, first: int = 0) -> list[Send]:
    """Acknowledged one after the other, from offset `first` on."""
    return [
        Send(producer, number, partition, value.encode(), outcome, number + first if outcome == ACKED else -1)
        for number, value in enumerate(values)
    ]


def poll(*records: tuple[int, str], reader: str = "r", partition: int = 0, sought: bool = False) -> Poll:
    found = tuple(Read(partition, offset, value.encode()) for offset, value in records)
    return Poll(reader, found, frozenset([partition]) if sought else frozenset())


def history(polls: list[Poll], sent: list[Send] | None = None, **fields: object) -> History:
    return History(sends=sends("a", "b", "c") if sent is None else sent, polls=polls, idempotent={"p"}, **fields)  # type: ignore[arg-type]


ALL = poll((0, "a"), (1, "b"), (2, "c"))


def kinds(found: History) -> list[str]:
    return [anomaly.kind for anomaly in anomalies(found)]


def test_what_everybody_reads_where_it_was_acknowledged_is_in_order() -> None:
    assert (
        kinds(history([poll((0, "a")), poll((1, "b"), (2, "c")), ALL._replace(reader="s")], final_readers={"s"})) == []
    )


def test_what_was_acknowledged_and_is_passed_over_is_lost() -> None:
    assert kinds(history([poll((0, "a")), poll((2, "c"))])) == ["lost-write", "poll-skip"]


def test_what_was_acknowledged_and_lies_beyond_every_reader_is_unseen() -> None:
    assert kinds(history([poll((0, "a"), (1, "b"))])) == ["unseen"]


def test_a_record_that_another_took_the_place_of_is_lost_and_its_offset_inconsistent() -> None:
    sent = [*sends("a", "b", "c"), Send("q", 0, 0, b"x", UNKNOWN)]
    found = kinds(history([poll((0, "a"), (1, "x"), (2, "c"))], sent))
    assert sorted(found) == ["inconsistent-offsets", "lost-write"]


def test_two_readers_that_see_different_values_at_an_offset_are_told() -> None:
    sent = [*sends("a"), *sends("b", "x", producer="q", outcome=UNKNOWN)]
    polls = [poll((0, "a"), (1, "b")), poll((0, "a"), (1, "x"), reader="s")]
    assert kinds(history(polls, sent)) == ["inconsistent-offsets"]


def test_a_record_that_lies_twice_is_a_duplicate_if_its_producer_is_idempotent() -> None:
    polls = [poll((0, "a"), (1, "b"), (2, "c"), (3, "b"))]
    assert kinds(history(polls)) == ["duplicate"]
    relaxed = history(polls)
    relaxed.idempotent.clear()
    assert kinds(relaxed) == []


def test_a_record_that_is_read_elsewhere_than_it_was_acknowledged_is_misplaced() -> None:
    sent = [*sends("a", "b"), *sends("x", producer="q", outcome=UNKNOWN)]
    assert kinds(history([poll((0, "a"), (1, "x"), (2, "b"))], sent)) == ["inconsistent-offsets", "misplaced"]


def test_what_was_never_acknowledged_may_be_there_or_not() -> None:
    sent = [*sends("a"), *sends("x", "y", producer="q", outcome=UNKNOWN)]
    assert kinds(history([poll((0, "a"), (1, "y"))], sent)) == []


def test_what_nobody_sent_is_told() -> None:
    assert kinds(history([poll((0, "a"), (1, "b"), (2, "c"), (3, "z"))])) == ["unsent"]


def test_an_idempotent_producers_records_lie_in_the_order_of_sending() -> None:
    sent = [Send("p", 0, 0, b"a", ACKED, 1), Send("p", 1, 0, b"b", ACKED, 0)]
    assert kinds(history([poll((0, "b"), (1, "a"))], sent)) == ["nonmonotonic-send"]
    other_partition = [Send("p", 0, 0, b"a", ACKED, 1), Send("p", 1, 1, b"b", ACKED, 0), Send("q", 0, 0, b"q", UNKNOWN)]
    polls = [poll((0, "q"), (1, "a")), poll((0, "b"), partition=1)]
    assert kinds(history(polls, other_partition)) == []


def test_a_reader_that_goes_back_is_told() -> None:
    assert kinds(history([ALL, poll((1, "b"))])) == ["nonmonotonic-poll"]
    assert kinds(history([poll((0, "a"), (2, "c"), (1, "b"))])) == ["int-poll-skip", "int-nonmonotonic-poll"]


def test_a_reader_may_go_back_or_forward_when_its_position_was_set() -> None:
    assert kinds(history([ALL, poll((1, "b"), sought=True)])) == []
    assert kinds(history([ALL, poll((0, "a"), reader="s"), poll((2, "c"), reader="s", sought=True)])) == []


def test_a_reader_that_leaves_out_what_others_read_is_told() -> None:
    assert kinds(history([ALL, poll((0, "a"), reader="s"), poll((2, "c"), reader="s")])) == ["poll-skip"]


def test_an_offset_without_a_record_is_a_hole_to_who_reads_everything() -> None:
    sent = [*sends("a"), *sends("c", first=2, producer="q")]
    assert kinds(history([poll((0, "a"), (2, "c"))], sent, final_readers={"r"})) == ["hole"]


def test_below_where_partitions_begin_there_is_no_hole() -> None:
    sent = sends("a", "b", first=2)
    found = history([poll((2, "a"), (3, "b"))], sent, final_readers={"r"}, begin=2)
    assert kinds(found) == []
    found.begin = 1
    assert kinds(found) == ["hole"]


def test_the_members_of_a_group_read_everything_between_them() -> None:
    halves = [poll((0, "a")), poll((1, "b"), (2, "c"), reader="s")]
    assert kinds(history(halves, groups={"g": ["r", "s"]})) == []
    assert kinds(history(halves, groups={"g": ["r"]})) == ["group-unseen", "group-unseen"]


def test_the_end_of_a_partition_does_not_go_back() -> None:
    assert kinds(history([ALL], ends=[EndOffset(0, 2), EndOffset(1, 0), EndOffset(0, 2), EndOffset(0, 3)])) == []
    assert kinds(history([ALL], ends=[EndOffset(0, 3), EndOffset(0, 2)])) == ["end-went-back"]


@pytest.mark.parametrize(
    ("commits", "wanted"),
    [
        ([Commit("g", 1), Commit("g", 1, is_read=True)], []),
        ([Commit("g", 1), Commit("g", 2, UNKNOWN), Commit("g", 1, is_read=True)], []),
        ([Commit("g", 1), Commit("g", 2, UNKNOWN), Commit("g", 2, is_read=True)], []),
        ([Commit("g", 1, UNKNOWN), Commit("g", 2), Commit("g", 1, is_read=True)], []),
        ([Commit("g", -1, is_read=True), Commit("g", 1), Commit("h", -1, is_read=True)], []),
        ([Commit("g", 1), Commit("g", 2), Commit("g", 1, is_read=True)], ["lost-commit"]),
        ([Commit("g", 1), Commit("g", -1, is_read=True)], ["lost-commit"]),
        ([Commit("g", 1), Commit("g", 7, is_read=True)], ["lost-commit"]),
        (
            [Commit("g", 1), Commit("g", 2, UNKNOWN), Commit("g", 2, is_read=True), Commit("g", 1, is_read=True)],
            ["lost-commit"],
        ),
    ],
)
def test_a_groups_offset_stays_where_it_is_for_certain(commits: list[Commit], wanted: list[str]) -> None:
    assert kinds(history([ALL], commits=commits)) == wanted


def test_what_a_client_must_never_be_told_is_an_anomaly() -> None:
    assert kinds(history([ALL], complaints=["r: the position was reset"])) == ["complaint"]
