import pytest

from kstore.errors import (
    FetchSessionIdNotFoundError,
    FetchSessionTopicIdError,
    InvalidFetchSessionEpochError,
)
from kstore.server.fetch_session import (
    EVICTION_MS,
    FINAL_EPOCH,
    INITIAL_EPOCH,
    LET_GO_MS,
    MAX_INT32,
    NO_REPLICA,
    NO_SESSION,
    FetchSessionCache,
    next_epoch,
)


def asked(*partitions, topic="t", offset=0, max_bytes=1000):
    return (topic, None, [(partition, -1, offset, -1, -1, max_bytes) for partition in partitions])


def open_fetch(cache, *, session_id=0, epoch=INITIAL_EPOCH, topics=(), forgotten=(), ids=False, monotonic_ms=0):
    return cache.open(
        session_id=session_id,
        epoch=epoch,
        topics=list(topics),
        forgotten=list(forgotten),
        uses_topic_ids=ids,
        monotonic_ms=monotonic_ms,
    )


def found(cache, *topics, monotonic_ms=0):
    opened = open_fetch(cache, topics=topics, monotonic_ms=monotonic_ms)
    assert opened.may_found
    return cache.found(opened.wanted, uses_topic_ids=False, monotonic_ms=monotonic_ms)


def test_a_full_fetch_founds_a_session_and_the_next_one_names_nothing():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0, 1))
    assert session_id > 0
    opened = open_fetch(cache, session_id=session_id, epoch=1)
    assert [want.partition for want in opened.wanted.values()] == [0, 1]
    assert opened.session.epoch == 2


def test_a_final_fetch_ends_its_session_and_founds_none():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    opened = open_fetch(cache, session_id=session_id, epoch=FINAL_EPOCH, topics=[asked(0)])
    assert not opened.may_found
    assert cache.sessions == {}


def test_a_full_fetch_with_an_old_session_ends_it():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    open_fetch(cache, session_id=session_id, epoch=INITIAL_EPOCH, topics=[asked(0)])
    assert session_id not in cache.sessions


def test_an_unknown_session_is_refused():
    with pytest.raises(FetchSessionIdNotFoundError):
        open_fetch(FetchSessionCache(10), session_id=7, epoch=1)


@pytest.mark.parametrize("epoch", [2, 100])
def test_a_request_out_of_turn_is_refused(epoch):
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    with pytest.raises(InvalidFetchSessionEpochError):
        open_fetch(cache, session_id=session_id, epoch=epoch)


def test_a_repeated_request_is_refused():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    open_fetch(cache, session_id=session_id, epoch=1)
    with pytest.raises(InvalidFetchSessionEpochError):
        open_fetch(cache, session_id=session_id, epoch=1)


def test_a_session_keeps_to_names_or_to_ids():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    with pytest.raises(FetchSessionTopicIdError):
        open_fetch(cache, session_id=session_id, epoch=1, ids=True)


def test_a_session_takes_changes_additions_and_removals():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0, 1, 2))
    opened = open_fetch(
        cache,
        session_id=session_id,
        epoch=1,
        topics=[asked(1, offset=50), asked(3)],
        forgotten=[("t", None, [0])],
    )
    assert {want.partition: want.fetch_offset for want in opened.wanted.values()} == {1: 50, 2: 0, 3: 0}


def test_a_session_without_partitions_ends():
    cache = FetchSessionCache(10)
    session_id = found(cache, asked(0))
    opened = open_fetch(cache, session_id=session_id, epoch=1, forgotten=[("t", None, [0])])
    assert opened.wanted == {}
    assert opened.session is None
    assert cache.sessions == {}


def test_a_fetch_without_partitions_founds_no_session():
    cache = FetchSessionCache(10)
    assert cache.found({}, uses_topic_ids=False, monotonic_ms=0) == NO_SESSION


def test_no_new_session_pushes_out_a_young_one():
    cache = FetchSessionCache(1)
    first = found(cache, asked(0))
    assert found(cache, asked(0, 1, 2), monotonic_ms=EVICTION_MS) == NO_SESSION
    assert first in cache.sessions


def test_a_stale_session_makes_room():
    cache = FetchSessionCache(1)
    first = found(cache, asked(0, 1, 2))
    second = found(cache, asked(0), monotonic_ms=EVICTION_MS + 1)
    assert second != NO_SESSION
    assert first not in cache.sessions


def test_a_larger_session_pushes_out_a_smaller_one_that_is_no_longer_young():
    cache = FetchSessionCache(1)
    first = found(cache, asked(0))
    open_fetch(cache, session_id=first, epoch=1, monotonic_ms=EVICTION_MS)
    assert found(cache, asked(0, 1), monotonic_ms=EVICTION_MS + 1) != NO_SESSION


def test_a_smaller_session_does_not_push_out_a_larger_one():
    cache = FetchSessionCache(1)
    first = found(cache, asked(0, 1))
    open_fetch(cache, session_id=first, epoch=1, monotonic_ms=EVICTION_MS)
    assert found(cache, asked(0), monotonic_ms=EVICTION_MS + 1) == NO_SESSION


def test_epochs_wrap_to_one():
    assert next_epoch(MAX_INT32) == 1
    assert next_epoch(0) == 1


def want_in(cache):
    return next(iter(open_fetch(cache, topics=[asked(0)]).wanted.values()))


def news(want, *, error_code=0, diverges=False, high_watermark=10, log_start_offset=0, told_anyway=False):
    return want.has_news(
        error_code=error_code,
        diverges=diverges,
        high_watermark=high_watermark,
        log_start_offset=log_start_offset,
        told_anyway=told_anyway,
    )


def test_a_partition_without_news_is_left_out():
    want = want_in(FetchSessionCache(1))
    assert news(want)
    assert not news(want)
    assert news(want, told_anyway=True)
    assert news(want, high_watermark=11)
    assert news(want, high_watermark=11, log_start_offset=3)
    assert not news(want, high_watermark=11, log_start_offset=3)


def test_a_partition_is_told_of_again_when_its_error_is_gone():
    want = want_in(FetchSessionCache(1))
    news(want)
    assert news(want, error_code=3, high_watermark=-1, log_start_offset=-1)
    assert news(want)


def test_a_follower_that_diverged_is_told_the_watermark_once_it_takes_it():
    """It takes nothing from the answer that tells it where its log parts, and so never heard of the watermark in it
    (found by the simulator)."""
    want = want_in(FetchSessionCache(1))
    assert news(want, diverges=True)
    assert news(want)
    assert not news(want)


def test_a_partition_that_gave_data_comes_last_next_time():
    cache = FetchSessionCache(1)
    session_id = found(cache, asked(0, 1, 2))
    session = open_fetch(cache, session_id=session_id, epoch=1).session
    session.moved_to_end(("t", 0))
    assert [key[1] for key in session.partitions] == [1, 2, 0]


def founded(cache, *topics, is_followers, replica=(2, 50), monotonic_ms=0):
    opened = open_fetch(cache, topics=topics, monotonic_ms=monotonic_ms)
    return cache.found(
        opened.wanted,
        uses_topic_ids=False,
        replica=replica if is_followers else NO_REPLICA,
        monotonic_ms=monotonic_ms,
    )


def test_sessions_of_a_followers_earlier_life_and_those_it_has_let_go_of_are_closed():
    """Each of them heard of every append for ever."""
    cache = FetchSessionCache(10)
    for broker_epoch in (50, 50, 60):
        founded(cache, asked(0), is_followers=True, replica=(2, broker_epoch))
    other = founded(cache, asked(0), is_followers=True, replica=(3, 40))
    assert sorted(session.replica for session in cache.sessions.values()) == [(2, 60), (3, 40)]
    # Several fetchers are at work at once; of them this one is not any more.
    cache.sessions[other].used_ms = LET_GO_MS
    used = founded(cache, asked(1), is_followers=True, replica=(2, 60), monotonic_ms=LET_GO_MS)
    last = founded(cache, asked(1), is_followers=True, replica=(2, 60), monotonic_ms=LET_GO_MS + 1)
    assert set(cache.sessions) == {other, used, last}


def test_a_follower_takes_the_place_of_a_consumer_and_keeps_it():
    cache = FetchSessionCache(2)
    small = founded(cache, asked(0), is_followers=False)
    large = founded(cache, asked(0, 1, 2), is_followers=False)
    follower = founded(cache, asked(0), is_followers=True)
    assert set(cache.sessions) == {large, follower}
    assert small not in cache.sessions
    second = founded(cache, asked(0), is_followers=True)
    assert set(cache.sessions) == {follower, second}
    # However old and small it is, as long as it is used.
    monotonic_ms = EVICTION_MS + 1
    for session in cache.sessions.values():
        session.used_ms = monotonic_ms
    assert founded(cache, asked(0, 1, 2, 3), is_followers=False, monotonic_ms=monotonic_ms) == NO_SESSION
    assert founded(cache, asked(0, 1), is_followers=True, monotonic_ms=monotonic_ms) != NO_SESSION


def test_a_follower_whose_session_was_evicted_is_told_no_news():
    cache = FetchSessionCache(1)
    session = cache.sessions[founded(cache, asked(0, 1), is_followers=True)]
    for key, want in session.partitions.items():
        session.rest(key, want)
    assert sorted(cache.followers) == [("t", 0), ("t", 1)]
    founded(cache, asked(2), is_followers=True, monotonic_ms=EVICTION_MS + 1)
    assert cache.followers == {}


def test_a_topic_that_was_made_anew_is_heard_of_when_the_one_before_it_is_forgotten():
    cache = FetchSessionCache(1)
    old, new = (b"1" * 16, 0), (b"2" * 16, 0)
    opened = open_fetch(cache, topics=[(None, old[0], [(0, -1, 0, -1, -1, 1000)])], ids=True)
    session = cache.sessions[cache.found(opened.wanted, uses_topic_ids=True, replica=(2, 50), monotonic_ms=0)]
    session.ask(None, new[0], new, (0, -1, 0, -1, -1, 1000))
    for key, want in session.partitions.items():
        want.topic = "t"
        session.rest(key, want)
    session.forget(old)
    assert cache.followers == {("t", 0): {session: new}}
