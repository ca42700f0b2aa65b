"""Fetch against a live broker."""

import shutil
import time
from types import SimpleNamespace

import pytest

from kstore._native.batch import RecordBatch, iter_batches
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.fetch import FetchRequest
from kstore.server.handlers import fetch as fetch_handler
from tests.fix_broker import Client, batch, fetch_request, produce_request, records_in
from tests.golden.golden import golden

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, UNKNOWN_TOPIC_ID, INCONSISTENT_ID = 0, 1, 3, 100, 103
SESSION_NOT_FOUND, SESSION_EPOCH, SESSION_TOPIC_ID = 70, 71, 106
FENCED_EPOCH, UNKNOWN_EPOCH, UNSUPPORTED_CODEC = 74, 75, 76
VERSIONS = range(4, 18)
IDS_FROM = 13
FINAL, INITIAL = -1, 0
COMMITTED = 1


def filled(client, topic, *values, partitions=1, **configs):
    topic_id = client.create_topic(topic, partitions, **configs)
    for value in values:
        client.produce(topic, batch(value))
    return topic_id


def partitions_of(answer):
    return {
        (topic.topic or topic.topic_id, part.partition_index): part
        for topic in answer.responses
        for part in topic.partitions
    }


def ask(client, offsets, *, version=12, **options):
    answer = client.ask(fetch_request(offsets, **options), version)
    assert answer.error_code == NONE
    return partitions_of(answer)


def values_in(part):
    return [record.value for record in records_in(part.records)]


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_read_in_every_version(client, version):
    topic = f"read.{version}"
    topic_id = filled(client, topic, b"a", b"b")
    name = topic_id if version >= IDS_FROM else topic
    part = ask(client, {(name, 0): 0}, version=version)[name, 0]
    assert (part.error_code, part.high_watermark, part.last_stable_offset) == (NONE, 2, 2)
    assert part.log_start_offset == (0 if version >= 5 else -1)
    assert values_in(part) == [b"a", b"b"]
    assert [each.base_offset for each in map(RecordBatch, [part.records])] == [0]


def test_a_fetch_begins_with_the_batch_that_holds_the_offset(client):
    client.create_topic("inside")
    client.produce("inside", batch(b"a", b"b", b"c"))
    client.produce("inside", batch(b"d"))
    assert client.values("inside", 2) == [b"c", b"d"]
    assert client.values("inside", 3) == [b"d"]


def test_nothing_new_is_an_empty_record_set_and_not_null(client):
    filled(client, "at.the.end", b"a")
    part = client.fetch("at.the.end", 1)
    assert (part.error_code, part.records) == (NONE, b"")


@pytest.mark.parametrize("offset", [-1, -2, 2, 2**62])
def test_an_offset_outside_the_log_is_refused(client, offset):
    topic = f"outside.{offset}"
    filled(client, topic, b"a")
    part = client.fetch(topic, offset)
    assert (part.error_code, part.high_watermark, part.records) == (OUT_OF_RANGE, -1, b"")


def test_unknown_partitions_are_told_beside_known_ones(client):
    filled(client, "known", b"a")
    parts = ask(client, {("known", 0): 0, ("known", 1): 0, ("nobody", 0): 0, ("known", -1): 0})
    codes = {key: part.error_code for key, part in parts.items()}
    assert codes == {
        ("known", 0): NONE,
        ("known", 1): UNKNOWN_TOPIC,
        ("known", -1): UNKNOWN_TOPIC,
        ("nobody", 0): UNKNOWN_TOPIC,
    }
    assert values_in(parts["known", 0]) == [b"a"]


def test_an_unknown_id_is_told(client):
    unknown = bytes(range(16))
    assert ask(client, {(unknown, 0): 0}, version=13)[unknown, 0].error_code == UNKNOWN_TOPIC_ID


def test_the_zero_id_is_no_topics(client):
    zero = bytes(16)
    answer = client.ask(fetch_request({(zero, 0): 0}), 13)
    assert answer.responses[0].partitions[0].error_code == UNKNOWN_TOPIC_ID


# Waiting


def test_a_fetch_waits_for_bytes_and_is_woken_by_a_produce(broker, client):
    filled(client, "woken")
    with broker.connect() as waiting:
        began = time.monotonic()
        waiting.send(fetch_request({("woken", 0): 0}, max_wait_ms=20_000, min_bytes=1), 12)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        client.produce("woken", batch(b"news"))
        part = partitions_of(waiting.receive())["woken", 0]
        assert time.monotonic() - began < 10
    assert values_in(part) == [b"news"]


def test_a_fetch_gives_up_after_max_wait(client):
    filled(client, "waits", b"a")
    began = time.monotonic()
    part = client.fetch("waits", 1, max_wait_ms=200, min_bytes=1)
    assert 0.15 < time.monotonic() - began < 5
    assert (part.error_code, part.records) == (NONE, b"")


def test_too_few_bytes_are_given_after_max_wait(client):
    filled(client, "few", b"a")
    began = time.monotonic()
    part = client.fetch("few", 0, max_wait_ms=200, min_bytes=100_000)
    assert time.monotonic() - began > 0.15
    assert values_in(part) == [b"a"]


def test_min_bytes_are_gathered_over_all_partitions(broker, client):
    client.create_topic("gathered", 2)
    size = len(batch(b"x" * 100))
    with broker.connect() as waiting:
        offsets = {("gathered", 0): 0, ("gathered", 1): 0}
        waiting.send(fetch_request(offsets, max_wait_ms=20_000, min_bytes=2 * size), 12)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        client.produce("gathered", batch(b"x" * 100))
        assert broker.call(lambda app: len(app.context.deliver.fetches)) == 1, "half of it is not enough"
        client.produce("gathered", batch(b"y" * 100), partition=1)
        parts = partitions_of(waiting.receive())
    assert [values_in(part) for part in parts.values()] == [[b"x" * 100], [b"y" * 100]]


def test_enough_bytes_are_given_at_once(client):
    filled(client, "enough", b"a")
    began = time.monotonic()
    assert values_in(client.fetch("enough", 0, max_wait_ms=20_000, min_bytes=1)) == [b"a"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("offsets", [{("nobody", 0): 0}, {("errors.now", 0): 99}])
def test_an_error_is_told_at_once(client, offsets):
    if offsets == {("errors.now", 0): 99}:
        filled(client, "errors.now", b"a")
    began = time.monotonic()
    (part,) = ask(client, offsets, max_wait_ms=20_000, min_bytes=1).values()
    assert part.error_code != NONE
    assert time.monotonic() - began < 5


def test_a_fetch_without_partitions_does_not_wait(client):
    began = time.monotonic()
    assert ask(client, {}, max_wait_ms=20_000, min_bytes=1) == {}
    assert time.monotonic() - began < 5


def test_a_client_that_goes_while_it_waits_leaves_nothing_behind(broker, client):
    filled(client, "left")
    waiting = broker.connect()
    waiting.send(fetch_request({("left", 0): 0}, max_wait_ms=20_000, min_bytes=1), 12)
    broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
    waiting.close()
    client.produce("left", batch(b"x"))
    broker.wait_for(lambda app: len(app.context.deliver.fetches) == 0)


def test_answers_behind_a_waiting_fetch_wait_too(broker, client):
    filled(client, "in.order")
    with broker.connect() as pipelining:
        pipelining.send(fetch_request({("in.order", 0): 0}, max_wait_ms=20_000, min_bytes=1), 12)
        pipelining.send(fetch_request({("nobody", 0): 0}), 12)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        client.produce("in.order", batch(b"x"))
        assert values_in(partitions_of(pipelining.receive())["in.order", 0]) == [b"x"]
        assert partitions_of(pipelining.receive())["nobody", 0].error_code == UNKNOWN_TOPIC


# Limits


def test_partition_max_bytes_cuts_after_whole_batches_or_within_the_next(client):
    filled(client, "partition.limit", b"a" * 100, b"b" * 100, b"c" * 100)
    size = len(batch(b"a" * 100))
    part = client.fetch("partition.limit", 0, partition_max_bytes=2 * size)
    assert values_in(part) == [b"a" * 100, b"b" * 100]
    part = client.fetch("partition.limit", 0, partition_max_bytes=2 * size + 10)
    assert len(part.records) <= 2 * size + 10
    assert values_in(part) == [b"a" * 100, b"b" * 100]


@pytest.mark.parametrize("limits", [{"partition_max_bytes": 10}, {"max_bytes": 10}, {"partition_max_bytes": 0}])
def test_the_first_batch_comes_whole_whatever_the_limits(client, limits):
    topic = f"first.{len(str(limits))}"
    filled(client, topic, b"a" * 1000, b"b")
    assert values_in(client.fetch(topic, 0, **limits)) == [b"a" * 1000]


def test_max_bytes_are_spent_partition_by_partition(client):
    client.create_topic("shared.limit", 3)
    data = batch(b"x" * 100)
    for index in range(3):
        client.produce("shared.limit", data, partition=index)
    offsets = {("shared.limit", index): 0 for index in range(3)}
    parts = ask(client, offsets, max_bytes=2 * len(data))
    assert [len(part.records) for part in parts.values()] == [len(data), len(data), 0]
    # Only the first batch of all comes whole in spite of the limit.
    parts = ask(client, offsets, max_bytes=len(data) + 10)
    assert len(parts["shared.limit", 0].records) == len(data)
    assert len(parts["shared.limit", 1].records) <= 10
    assert len(parts["shared.limit", 2].records) == 0


def test_the_broker_has_a_limit_of_its_own(start_broker):
    client = start_broker(overrides={"fetch.max.bytes": "1024"}).connect()
    client.create_topic("own.limit", 2)
    for index in range(2):
        for _ in range(3):
            client.produce("own.limit", batch(b"x" * 500), partition=index)
    parts = ask(client, {("own.limit", 0): 0, ("own.limit", 1): 0})
    assert sum(len(part.records) for part in parts.values()) <= 1024


def test_a_large_answer_comes_whole(client):
    values = [bytes([index]) * 900_000 for index in range(8)]
    filled(client, "large", *values, max_message_bytes="1000000")
    assert values_in(client.fetch("large", 0, partition_max_bytes=1 << 30)) == values


# Epochs


def test_another_belief_in_the_leader_is_told(client):
    filled(client, "epochs", b"a")
    assert client.fetch("epochs", 0, current_leader_epoch=0).error_code == NONE
    assert client.fetch("epochs", 0, current_leader_epoch=1).error_code == UNKNOWN_EPOCH


def test_an_older_epoch_is_fenced_after_an_unclean_stop(start_broker, tmp_path):
    first = start_broker(tmp_path / "first")
    client = first.connect()
    filled(client, "fenced", b"a")
    # What a killed broker leaves: everything but the mark of a clean stop.
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    client = start_broker(tmp_path / "copy").connect()
    assert client.fetch("fenced", 0, current_leader_epoch=0).error_code == FENCED_EPOCH
    assert values_in(client.fetch("fenced", 0, current_leader_epoch=1)) == [b"a"]


def test_a_reader_from_another_history_is_shown_where_it_parted(start_broker, tmp_path):
    first = start_broker(tmp_path / "first")
    filled(first.connect(), "diverging", b"a", b"b")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    client = start_broker(tmp_path / "copy").connect()
    client.produce("diverging", batch(b"c"))
    # Epoch 0 ended at 2, where epoch 1 begins; the reader holds a record more of it.
    part = client.fetch("diverging", 3, last_fetched_epoch=0)
    assert (part.error_code, part.diverging_epoch.epoch, part.diverging_epoch.end_offset) == (NONE, 0, 2)
    assert (part.records, part.high_watermark) == (b"", 3)
    assert client.fetch("diverging", 9, last_fetched_epoch=0).diverging_epoch.end_offset == 2
    assert values_in(client.fetch("diverging", 2, last_fetched_epoch=0)) == [b"c"]
    assert client.fetch("diverging", 2, last_fetched_epoch=5).error_code == OUT_OF_RANGE


# Sessions


def open_session(client, offsets, *, version=12, **options):
    answer = client.ask(fetch_request(offsets, session_epoch=INITIAL, **options), version)
    assert (answer.error_code, answer.session_id != 0) == (NONE, True)
    return answer


def test_a_session_tells_only_news(client):
    client.create_topic("session", 3)
    opened = open_session(client, {("session", index): 0 for index in range(3)})
    assert len(partitions_of(opened)) == 3
    again = fetch_request({}, session_id=opened.session_id, session_epoch=1)
    assert partitions_of(client.ask(again, 12)) == {}
    client.produce("session", batch(b"news"), partition=1)
    news = partitions_of(client.ask(fetch_request({}, session_id=opened.session_id, session_epoch=2), 12))
    assert {key: values_in(part) for key, part in news.items()} == {("session", 1): [b"news"]}


def test_a_session_takes_new_partitions_new_offsets_and_forgets(client):
    filled(client, "changing", b"a", partitions=2)
    opened = open_session(client, {("changing", 0): 0})
    session = {"session_id": opened.session_id}
    moved = fetch_request({("changing", 0): 1, ("changing", 1): 0}, session_epoch=1, **session)
    assert list(partitions_of(client.ask(moved, 12))) == [("changing", 1)]
    forgetting = fetch_request({("changing", 1): 0}, forgotten={"changing": [0]}, session_epoch=2, **session)
    client.ask(forgetting, 12)
    client.produce("changing", batch(b"b"))
    client.produce("changing", batch(b"c"), partition=1)
    news = partitions_of(client.ask(fetch_request({}, session_epoch=3, **session), 12))
    assert {key: values_in(part) for key, part in news.items()} == {("changing", 1): [b"c"]}


def test_an_error_is_news_each_time(client):
    opened = open_session(client, {("nobody", 0): 0})
    for epoch in (1, 2):
        again = fetch_request({}, session_id=opened.session_id, session_epoch=epoch)
        assert partitions_of(client.ask(again, 12))["nobody", 0].error_code == UNKNOWN_TOPIC


@pytest.mark.parametrize(("epoch", "code"), [(2, SESSION_EPOCH), (5, SESSION_EPOCH)])
def test_a_session_counts_its_requests(client, epoch, code):
    filled(client, f"counted.{epoch}", b"a")
    opened = open_session(client, {(f"counted.{epoch}", 0): 0})
    wrong = fetch_request({}, session_id=opened.session_id, session_epoch=epoch)
    answer = client.ask(wrong, 12)
    assert (answer.error_code, answer.responses) == (code, [])


def test_a_session_that_is_not_there_is_told(client):
    answer = client.ask(fetch_request({}, session_id=12345, session_epoch=1), 12)
    assert answer.error_code == SESSION_NOT_FOUND


def test_a_session_is_closed_by_its_last_epoch(broker, client):
    filled(client, "closing", b"a")
    opened = open_session(client, {("closing", 0): 0})
    last = fetch_request({("closing", 0): 0}, session_id=opened.session_id, session_epoch=FINAL)
    answer = client.ask(last, 12)
    assert (answer.session_id, len(partitions_of(answer))) == (0, 1)
    again = client.ask(fetch_request({}, session_id=opened.session_id, session_epoch=1), 12)
    assert again.error_code == SESSION_NOT_FOUND


def test_a_session_keeps_to_ids_or_to_names(client):
    filled(client, "names.first", b"a")
    opened = open_session(client, {("names.first", 0): 0})
    answer = client.ask(fetch_request({}, session_id=opened.session_id, session_epoch=1), 13)
    assert answer.error_code == SESSION_TOPIC_ID


def test_a_session_hears_of_a_topic_that_was_made_anew(client):
    topic_id = filled(client, "made.anew", b"old")
    opened = open_session(client, {(topic_id, 0): 0}, version=13)
    State = DeleteTopicsRequest.DeleteTopicState
    client.ask(DeleteTopicsRequest(topics=[State(name="made.anew")]), 6)
    filled(client, "made.anew", b"new")
    answer = client.ask(fetch_request({}, session_id=opened.session_id, session_epoch=1), 13)
    part = partitions_of(answer)[topic_id, 0]
    assert (part.error_code, part.records) == (INCONSISTENT_ID, b"")


def test_there_are_so_many_sessions_and_no_more(start_broker):
    broker = start_broker(overrides={"max.incremental.fetch.session.cache.slots": "2"})
    client = broker.connect()
    client.create_topic("slots")
    ids = [client.ask(fetch_request({("slots", 0): 0}, session_epoch=0), 12).session_id for _ in range(4)]
    assert [session_id != 0 for session_id in ids] == [True, True, False, False]


# Codecs and transactions


@pytest.mark.parametrize(("version", "code"), [(9, UNSUPPORTED_CODEC), (10, NONE)])
def test_zstd_is_not_given_to_who_cannot_read_it(client, version, code):
    topic = f"zstd.{version}"
    client.create_topic(topic, compression_type="zstd")
    client.produce(topic, batch(b"x"))
    part = client.fetch(topic, 0, version=version)
    assert part.error_code == code
    assert bool(part.records) == (code == NONE)


@pytest.mark.parametrize("name", ["kafka-3.9.1", "kafka-4.3.0"])
def test_transactions_of_kafka_are_read_as_they_ended(start_broker, tmp_path, name):
    made = golden(name)
    shutil.copytree(made.directory, tmp_path / "theirs")
    client = start_broker(tmp_path / "theirs").connect()
    for (topic, index), partition in made.partitions.items():
        if topic != "transactions":
            continue
        everything = client.fetch(topic, partition.log_start_offset, partition=index)
        assert everything.high_watermark == partition.log_end_offset
        assert everything.last_stable_offset == partition.last_stable_offset
        assert everything.aborted_transactions is None
        assert committed(client, topic, index, partition.log_start_offset) == partition.committed_offsets


def committed(client, topic, index, offset):
    """The offsets of the records that a read_committed consumer takes from `offset` on (Fetcher.java)."""
    taken, discarded = [], set()
    while True:
        part = client.fetch(topic, offset, partition=index, isolation_level=COMMITTED)
        aborted = sorted((each.first_offset, each.producer_id) for each in part.aborted_transactions)
        batches = list(iter_batches(part.records, allow_partial_tail=True))
        if not batches:
            return taken
        for each in batches:
            while aborted and aborted[0][0] <= each.last_offset:
                discarded.add(aborted.pop(0)[1])
            if each.is_control:
                discarded.discard(each.producer_id)
            elif not (each.is_transactional and each.producer_id in discarded):
                taken += [record.offset for record in each.records()]
        offset = batches[-1].next_offset


# The stream


def test_two_readers_at_the_tail_see_the_same(broker, client):
    client.create_topic("tail")
    readers = [broker.connect() for _ in range(2)]
    seen = [[], []]
    for index in range(20):
        client.produce("tail", batch(b"%d" % index))
        for reader, values in zip(readers, seen, strict=True):
            values += reader.values("tail", index)
    assert seen[0] == seen[1] == [b"%d" % index for index in range(20)]


def test_a_follower_is_refused(broker):
    with broker.connect() as client:
        request = fetch_request({("x", 0): 0}, replica_id=5)
        client.send(request, 12, answered=False)
        assert client.is_closed_by_the_broker()


@pytest.mark.parametrize(
    ("leader_epoch", "replica_epoch", "held"), [(7, 50, 1), (-1, 50, -1), (7, -1, -1)], ids=["both", "no", "neither"]
)
def test_what_a_follower_holds_counts_only_where_it_names_its_epochs(broker, leader_epoch, replica_epoch, held):
    """A fetch of an earlier life could say that it holds what is lost, and had its broker epoch forgotten."""
    topic = f"held.{leader_epoch}.{replica_epoch}"
    with broker.connect() as client:
        client.create_topic(topic)
        client.produce(topic, batch(b"a"))

    def fetch_as_2(app):
        partition = app.context.replicas.get(topic, 0)
        me = app.context.node_id
        isr = frozenset((me, 2))
        partition.become_leader(broker_id=me, epoch=7, replicas=(me, 2), isr=isr, alive=isr)
        payload = SimpleNamespace(max_bytes=1000, replica_id=2, replica_epoch=replica_epoch, isolation_level=0)
        want = fetch_handler.Wanted(topic, None, (0, leader_epoch, 1, -1, 0, 1000))
        opened = fetch_handler.Opened({(topic, 0): want}, None, may_found=False)
        reading = fetch_handler.read_all(app.context, None, payload, opened, version=17, is_first=True)
        ((_, _, result),) = reading.results
        return result[1], partition.leader.remote_end_offsets[2], partition.leader.followers[2].broker_epoch

    assert broker.call(fetch_as_2) == (NONE, held, replica_epoch if held >= 0 else -1)


def with_follower(broker, monkeypatch, topic):
    """Broker 2 is in sync since a new epoch, and whoever says that he is it is believed."""
    monkeypatch.setattr(fetch_handler, "check_is_a_brokers", lambda *_: None)

    def lead(app):
        partition = app.context.replicas.get(topic, 0)
        leading = {"broker_id": 1, "epoch": 5, "replicas": (1, 2), "isr": frozenset({1, 2})}
        app.context.deliver(partition.become_leader(**leading))

    broker.call(lead)


def test_a_fetch_that_diverges_says_nothing_of_what_its_follower_holds(broker, client, monkeypatch):
    """It holds that many records of another history (rule 5)."""
    filled(client, "parted", b"a", b"b")
    with_follower(broker, monkeypatch, "parted")
    asked = {"replica_id": 2, "current_leader_epoch": 5, "last_fetched_epoch": 3}
    part = ask(client, {("parted", 0): 2}, **asked)["parted", 0]
    assert part.diverging_epoch.epoch >= 0

    def held(app):
        return app.context.replicas.get("parted", 0).leader.remote_end_offsets

    assert broker.call(held) == {2: -1}


def test_a_follower_has_fetched_once_however_long_its_fetch_has_waited(broker, client, monkeypatch):
    """What came while it waited was not there when it asked: it has not caught up with that (rule 19)."""
    filled(client, "once")
    with_follower(broker, monkeypatch, "once")
    topic_id = broker.call(lambda app: app.context.replicas.get("once", 0).log.topic_id)
    with broker.connect() as follower:
        replica = FetchRequest.ReplicaState(replica_id=2, replica_epoch=50)
        request = fetch_request(
            {(topic_id, 0): 0}, current_leader_epoch=5, replica_state=replica, max_wait_ms=20_000, min_bytes=1
        )
        follower.send(request, 17)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        client.produce("once", batch(b"news"))
        assert values_in(partitions_of(follower.receive())[topic_id, 0]) == [b"news"]

    def end_when_it_fetched(app):
        return app.context.replicas.get("once", 0).leader.followers[2].end_at_last_fetch

    assert broker.call(end_when_it_fetched) == 0


def test_one_connection_produces_while_it_waits(broker):
    with Client(broker.port) as client:
        client.create_topic("same.connection")
        client.send(fetch_request({("same.connection", 0): 0}, max_wait_ms=20_000, min_bytes=1), 12)
        client.send(produce_request({("same.connection", 0): batch(b"mine")}), 9)
        assert values_in(partitions_of(client.receive())["same.connection", 0]) == [b"mine"]
        assert client.receive().responses[0].partition_responses[0].error_code == NONE


def test_a_fetch_whose_client_has_gone_waits_no_longer(broker, client):
    client.create_topic("nobody.waits")
    with broker.connect() as other:
        other.send(fetch_request({("nobody.waits", 0): 0}, min_bytes=1, max_wait_ms=2**31 - 1), 12)
        broker.wait_for(lambda app: ("nobody.waits", 0) in app.context.deliver.fetches.watched)
    broker.wait_for(lambda app: ("nobody.waits", 0) not in app.context.deliver.fetches.watched)


def waiters_on_both(app):
    return len(app.context.deliver.fetches.watched.get(("both.wait", 0), ()))


def test_a_fetch_that_cannot_be_answered_does_not_keep_the_news_from_others(broker, client, monkeypatch):
    client.create_topic("both.wait")
    with broker.connect() as first, broker.connect() as second:
        for waiter in (first, second):
            before = broker.call(waiters_on_both)
            waiter.send(fetch_request({("both.wait", 0): 0}, min_bytes=1, max_wait_ms=600_000), 12)
            broker.wait_for(lambda app, before=before: waiters_on_both(app) > before)
        respond, failures = fetch_handler.respond, [RuntimeError("broken")]

        def fail_once(*arguments):
            if failures:
                raise failures.pop()
            return respond(*arguments)

        monkeypatch.setattr(fetch_handler, "respond", fail_once)
        assert client.produce("both.wait", batch(b"x")).error_code == 0
        assert first.is_closed_by_the_broker()
        assert len(second.receive().responses[0].partitions[0].records) > 0
