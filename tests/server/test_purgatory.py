from kstore.model import TopicPartition
from kstore.server.fetch_session import INITIAL_EPOCH, FetchSessionCache
from kstore.server.purgatory import FetchPurgatory, FetchWaiting, ProducePurgatory, Waiting

A = TopicPartition("a", 0)
B = TopicPartition("b", 1)


class Timers:
    """call_later without a clock: the test lets time-outs happen."""

    def __init__(self):
        self.callbacks = []

    def __call__(self, delay_ms, callback):
        timer = Timer(delay_ms, callback)
        self.callbacks.append(timer)
        return timer


class Timer:
    def __init__(self, delay_ms, callback):
        self.delay_ms = delay_ms
        self.callback = callback
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


def waiting_produce(purgatory, partitions, timeout_ms=100):
    answered = []
    purgatory.watch(Waiting(partitions, answered.append), timeout_ms=timeout_ms)
    return answered


def test_a_produce_is_answered_when_every_partition_is_committed():
    purgatory = ProducePurgatory(Timers())
    answered = waiting_produce(purgatory, {A: 10, B: 5})
    purgatory.high_watermark_advanced(A, 9)
    purgatory.high_watermark_advanced(B, 7)
    assert answered == []
    purgatory.high_watermark_advanced(A, 10)
    assert answered == [False]
    assert len(purgatory) == 0


def test_a_produce_is_answered_once_when_time_is_over():
    timers = Timers()
    purgatory = ProducePurgatory(timers)
    answered = waiting_produce(purgatory, {A: 10}, timeout_ms=77)
    assert timers.callbacks[0].delay_ms == 77
    timers.callbacks[0].callback()
    purgatory.high_watermark_advanced(A, 10)
    assert answered == [True]
    assert purgatory.watched == {}


def test_an_answer_takes_its_timer_along():
    timers = Timers()
    purgatory = ProducePurgatory(timers)
    waiting_produce(purgatory, {A: 1})
    purgatory.high_watermark_advanced(A, 1)
    assert timers.callbacks[0].cancelled


def test_the_end_of_a_leadership_answers_whoever_waits_there():
    purgatory = ProducePurgatory(Timers())
    there = waiting_produce(purgatory, {A: 1, B: 1})
    elsewhere = waiting_produce(purgatory, {B: 1})
    purgatory.leadership_ended(A)
    assert (there, elsewhere) == ([False], [])
    assert len(purgatory) == 1


class Log:
    def __init__(self, sizes):
        self.sizes = sizes
        self.asked = 0

    def available(self, topic_partition):
        self.asked += 1
        return self.sizes[topic_partition]


def waiting_fetch(purgatory, log, needed):
    answered = []
    partitions = dict(log.sizes)
    purgatory.watch(FetchWaiting(partitions, answered.append, needed=needed, available=log.available), timeout_ms=500)
    return answered


def test_a_fetch_is_answered_when_its_partitions_together_have_enough():
    purgatory = FetchPurgatory(Timers())
    log = Log({A: 10, B: 0})
    answered = waiting_fetch(purgatory, log, needed=100)
    log.sizes[B] = 80
    purgatory.bytes_came(B)
    assert answered == []
    log.sizes[A] = 20
    purgatory.bytes_came(A)
    assert answered == [False]


def test_news_of_one_partition_asks_no_other():
    purgatory = FetchPurgatory(Timers())
    log = Log({TopicPartition("t", number): 0 for number in range(1000)})
    waiting_fetch(purgatory, log, needed=10)
    purgatory.bytes_came(TopicPartition("t", 7))
    assert log.asked == 1


def test_news_of_a_partition_that_nobody_waits_on_is_nothing():
    purgatory = FetchPurgatory(Timers())
    answered = waiting_fetch(purgatory, Log({A: 0}), needed=1)
    purgatory.bytes_came(B)
    assert answered == []


def test_an_answer_that_takes_the_session_of_the_next_fetch_for_its_own_stops_nobody():
    """The closed session was asked what it wants of the partition: the error left all later partitions of the turn
    without a word."""
    timers, cache = Timers(), FetchSessionCache(1)
    purgatory = FetchPurgatory(timers, cache.followers)
    opened = cache.open(
        session_id=0,
        epoch=INITIAL_EPOCH,
        topics=[("a", None, [(0, -1, 0, -1, -1, 1000)])],
        forgotten=[],
        uses_topic_ids=False,
        monotonic_ms=0,
    )
    session = cache.sessions[cache.found(opened.wanted, uses_topic_ids=False, replica=(2, 50), monotonic_ms=0)]
    for key, want in list(session.partitions.items()):
        session.rest(key, want)
    answered = []

    def first(timed_out):
        answered.append("first")
        cache._close(session.id)

    purgatory.watch(FetchWaiting({A: 0}, first, needed=1, available=lambda _: 1), timeout_ms=100)
    purgatory.watch(
        FetchWaiting(
            {},
            lambda timed_out: answered.append(timed_out),
            needed=1,
            available=lambda place: 1 + 0 * session.want_of(place).fetch_offset,
            session=session,
        ),
        timeout_ms=100,
    )
    purgatory.bytes_came(A)
    assert answered == ["first"]
    timers.callbacks[1].callback()
    assert answered == ["first", True]
