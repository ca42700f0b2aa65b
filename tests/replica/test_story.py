"""The story that leader epochs were made for (KIP-101), told step by step with real logs.

A broker that cut its log at its high watermark when it came back could lose what all had acknowledged: its watermark is
always a fetch behind. Here it asks its leader instead, by epoch, and keeps what it has.
"""

from pathlib import Path

from kstore.replica.effects import HighWatermarkAdvanced
from tests.replica.pair import KEY, START, Broker


def values_in(broker: Broker) -> bytes:
    return broker.content()


def test_a_follower_with_an_old_high_watermark_comes_back_and_loses_nothing(tmp_path: Path) -> None:
    a, b = Broker(tmp_path, 1), Broker(tmp_path, 2)

    # Broker 1 leads, broker 2 follows, both are in sync.
    a.lead(0, isr=(1, 2))
    b.follow(a, 0)

    # Two messages come, and broker 2 fetches them.
    a.append(b"m1")
    b.fetch(a)
    a.append(b"m2", acks=-1)
    b.fetch(a)
    assert b.log.log_end_offset == 2

    # Its next fetch says so: m2 is committed and acknowledged. The answer of that fetch never arrives.
    request = b.fetcher.fetch_request(broker_epoch=50, monotonic_ms=START)
    (asked,) = request.topics[0].partitions
    effects = a.partition.fetched_by(
        2, asked.fetch_offset, log_start_offset=0, leader_end=2, broker_epoch=50, monotonic_ms=START
    )
    assert HighWatermarkAdvanced(KEY, 2) in effects

    # Broker 2 is restarted. What it has written down of the high watermark is old.
    b.restart(high_watermark=1)
    assert (b.log.high_watermark, b.log.log_end_offset) == (1, 2)

    # The controller names broker 1 again, in a new epoch, for the ISR was changed. Broker 2 cuts nothing ...
    a.lead(1, isr=(1,), partition_epoch=1)
    b.follow(a, 1)
    assert b.log.log_end_offset == 2

    # ... and asks from the end of its log on, with the epoch of its last message.
    request = b.fetcher.fetch_request(broker_epoch=60, monotonic_ms=START)
    (asked,) = request.topics[0].partitions
    assert (asked.fetch_offset, asked.last_fetched_epoch, asked.current_leader_epoch) == (2, 0, 1)

    # The leader knows where epoch 0 ended: here. The histories are one, nothing is to be cut.
    assert a.partition.diverging_epoch(2, 0, current_leader_epoch=1) is None
    (proposed,) = b.fetch(a, broker_epoch=60)
    assert [replica for replica, _ in proposed.isr] == [1, 2]
    a.partition.isr_agreed(frozenset({1, 2}), leader_epoch=1, partition_epoch=2)

    # With the answer the high watermark of broker 2 rises over all it has.
    assert b.log.high_watermark == 2

    # Broker 1 dies. Broker 2 leads with both messages, and commits on.
    before = values_in(a)
    b.lead(2, isr=(2,), partition_epoch=3)
    assert values_in(b) == before
    assert b.log.high_watermark == 2
    b.append(b"m3", acks=-1)
    assert b.log.high_watermark == 3

    # Broker 1 comes back as it was and takes over what it missed.
    a.follow(b, 2)
    a.fetch(b)
    a.fetch(b)
    assert values_in(a) == values_in(b)
    assert b.partition.epoch_end_offset(0, current_leader_epoch=2) == (0, 2)
    a.log.close()
    b.log.close()


def test_it_loses_nothing_either_when_its_leader_dies_before_it_can_ask(tmp_path: Path) -> None:
    a, b = Broker(tmp_path, 1), Broker(tmp_path, 2)
    a.lead(0, isr=(1, 2))
    b.follow(a, 0)
    a.append(b"m1")
    a.append(b"m2", acks=-1)
    b.fetch(a)
    b.fetch(a)
    assert a.log.high_watermark == 2
    b.restart(high_watermark=0)
    b.follow(a, 1)
    b.lead(2, isr=(2,))
    assert (b.log.log_end_offset, b.log.high_watermark) == (2, 2)
    # The old leader has a message that nobody else has had: it gives it up for the new leader's.
    a.append(b"never acknowledged by all")
    b.append(b"m3", acks=-1)
    a.follow(b, 2)
    for _ in range(3):
        a.fetch(b)
    assert values_in(a) == values_in(b)
    a.log.close()
    b.log.close()
