"""What a broker tells of itself: numbers that follow what was done to it."""

import math
from collections.abc import Iterable

import pytest
from prometheus_client.core import Metric

from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.server.metrics import collect
from tests.fix_broker import batch, fetch_request, produce_request
from tests.server.handlers.members import Member

# (name of a sample, labels) -> value
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def by_name(metrics: Iterable[Metric]) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in metrics
        for sample in metric.samples
    }


@pytest.fixture
def ask(broker):
    """A sample's value now; None for one that is not there."""

    def value(name: str, **labels: str) -> float | None:
        samples = broker.call(lambda app: by_name(collect(app.context, app.listeners)))
        return samples.get((name, tuple(sorted(labels.items()))))

    return value


def test_bytes_and_messages_are_counted_by_topic(client, ask):
    client.create_topic("counted")
    records = batch(b"one", b"two")
    client.produce("counted", records)
    topic = "kafka_server_brokertopicmetrics"
    assert ask(f"{topic}_messagesin_total", topic="counted") == 2
    assert ask(f"{topic}_bytesin_total", topic="counted") == len(records)
    assert ask(f"{topic}_bytesout_total", topic="counted") == 0
    client.fetch("counted", 0)
    assert ask(f"{topic}_bytesout_total", topic="counted") == len(records)
    assert ask(f"{topic}_totalfetchrequests_total", topic="counted") == 1


def test_refused_produces_and_fetches_are_counted(client, ask):
    client.create_topic("refused")
    assert client.produce("refused", b"\0" * 70).error_code != 0
    assert client.fetch("refused", 99).error_code != 0
    topic = "kafka_server_brokertopicmetrics"
    assert ask(f"{topic}_failedproducerequests_total", topic="refused") == 1
    assert ask(f"{topic}_failedfetchrequests_total", topic="refused") == 1
    assert ask(f"{topic}_messagesin_total", topic="refused") == 0


def test_topics_that_do_not_exist_are_not_counted(broker, client, ask):
    client.produce("nowhere", batch(b"x"))
    client.fetch("nowhere", 0)
    assert broker.call(lambda app: "nowhere" in app.context.traffic) is False


def test_a_deleted_topic_is_counted_no_longer(broker, client, ask):
    client.create_topic("passing")
    client.produce("passing", batch(b"x"))
    client.ask(DeleteTopicsRequest(topic_names=["passing"]), 5)
    assert ask("kafka_server_brokertopicmetrics_messagesin_total", topic="passing") is None
    assert ask("kafka_log_log_size", topic="passing", partition="0") is None


def test_requests_are_counted_and_timed_by_api(client, ask):
    client.create_topic("timed")
    before = ask("kafka_network_requestmetrics_requests_total", request="Produce") or 0
    for _ in range(3):
        client.produce("timed", batch(b"x"))
    assert ask("kafka_network_requestmetrics_requests_total", request="Produce") == before + 3
    name = "kafka_network_requestmetrics_totaltime_seconds"
    assert ask(f"{name}_bucket", request="Produce", le="+Inf") == before + 3
    seconds = ask(f"{name}_sum", request="Produce")
    assert seconds is not None
    assert 0 < seconds < 10


def test_a_request_that_waits_is_timed_with_its_wait(client, ask):
    client.create_topic("waited")
    client.ask(fetch_request({("waited", 0): 0}, max_wait_ms=300, min_bytes=1), 12)
    seconds = ask("kafka_network_requestmetrics_totaltime_seconds_sum", request="Fetch")
    assert seconds is not None
    assert seconds >= 0.29  # the timer of the loop rounds


def test_logs_tell_their_size_and_offsets(client, ask):
    client.create_topic("sized", 2)
    records = batch(b"x")
    client.produce("sized", records, partition=1)
    assert ask("kafka_log_log_size", topic="sized", partition="1") == len(records)
    assert ask("kafka_log_log_logendoffset", topic="sized", partition="1") == 1
    assert ask("kafka_log_log_logstartoffset", topic="sized", partition="1") == 0
    assert ask("kafka_log_log_numlogsegments", topic="sized", partition="0") == 1


def test_waiting_requests_and_connections_are_told(broker, client, ask):
    client.create_topic("purgatory")
    assert ask("kafka_server_delayedoperationpurgatory_purgatorysize", delayedoperation="Fetch") == 0
    with broker.connect() as waiting:
        waiting.send(fetch_request({("purgatory", 0): 0}, max_wait_ms=600_000, min_bytes=1), 12)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        assert ask("kafka_server_delayedoperationpurgatory_purgatorysize", delayedoperation="Fetch") == 1
        assert ask("kafka_server_socketservermetrics_connection_count", listener="PLAINTEXT") == 2


def test_flushes_are_timed(client, ask):
    client.create_topic("flushed", flush_messages="1")
    before = ask("kafka_log_logflushstats_logflush_seconds_count") or 0
    client.ask(produce_request({("flushed", 0): batch(b"x")}, acks=1), 9)
    assert ask("kafka_log_logflushstats_logflush_seconds_count") == before + 1


def test_compaction_tells_of_its_last_run(broker, client, ask):
    client.create_topic("compacted", cleanup_policy="compact")
    for _ in range(4):
        client.produce("compacted", batch(b"x", key=b"k"))

    def clean(app):
        log = app.context.replicas.get("compacted", 0).log
        log.roll(now_ms=app.clock.now_ms())
        log.flush(now_ms=app.clock.now_ms())
        app.logs.cleaner.reconfigure(app.logs.cleaner.config)
        return app.logs.cleaner.run_due(app.clock.now_ms())

    assert broker.call(clean) == 1
    assert ask("kafka_log_logcleaner_cleaner_recopy_percent") == 25
    assert 0 < (ask("kafka_log_logcleaner_max_buffer_utilization_percent") or 0) <= 100
    assert ask("kafka_log_logcleaner_max_clean_time_secs") is not None
    assert ask("kafka_log_logcleanermanager_max_dirty_percent") == 0
    assert 0 <= (ask("kafka_log_logcleanermanager_time_since_last_run_ms") or 0) < 60_000
    (directory,) = broker.config.log_dirs
    assert ask("kafka_log_logcleanermanager_uncleanable_partitions_count", logdirectory=directory) == 0


def test_partitions_are_counted_by_what_they_are(broker, client, ask):
    before = ask("kafka_server_replicamanager_partitioncount") or 0
    client.create_topic("three", 3)
    assert ask("kafka_server_replicamanager_partitioncount") == before + 3
    assert ask("kafka_server_replicamanager_leadercount") == before + 3
    assert ask("kafka_server_replicamanager_offlinereplicacount") == 0
    assert ask("kafka_server_replicamanager_underminisrpartitioncount") == 0
    assert ask("kafka_controller_kafkacontroller_globalpartitioncount") == before + 3
    broker.call(lambda app: app.context.replicas.take_offline([("three", 0)], "its disk has failed"))
    assert ask("kafka_server_replicamanager_partitioncount") == before + 2
    assert ask("kafka_server_replicamanager_offlinereplicacount") == 1


def test_groups_tell_how_far_they_are_behind(broker, client, ask):
    client.create_topic("lagging", 2)
    for _ in range(5):
        client.produce("lagging", batch(b"x"))
    member = Member(client, "g")
    member.find()
    rebalances = ask("kafka_server_group_coordinator_metrics_group_completed_rebalance_total")
    member.settle()
    member.commit({("lagging", 0): 2, ("lagging", 1): 0})
    where = {"consumergroup": "g", "topic": "lagging"}
    assert ask("kafka_consumergroup_current_offset", **where, partition="0") == 2
    assert ask("kafka_consumergroup_lag", **where, partition="0") == 3
    assert ask("kafka_consumergroup_lag", **where, partition="1") == 0
    assert ask("kafka_consumergroup_members", consumergroup="g") == 1
    manager = "kafka_coordinator_group_groupmetadatamanager"
    assert ask(f"{manager}_numgroups") == ask(f"{manager}_numgroupsstable") == 1
    assert ask(f"{manager}_numoffsets") == 2
    counters = "kafka_server_group_coordinator_metrics"
    assert ask(f"{counters}_group_completed_rebalance_total") == (rebalances or 0) + 1
    assert ask(f"{counters}_offset_commit_total") == 2
    assert member.leave() == 0
    assert ask("kafka_consumergroup_members", consumergroup="g") == 0
    assert ask(f"{manager}_numgroupsempty") == 1
    client.ask(DeleteTopicsRequest(topic_names=["lagging"]), 5)
    broker.wait_for(lambda app: not app.context.groups.ask("g", lambda shard, _: shard.offset_count))
    assert ask("kafka_consumergroup_lag", **where, partition="0") is None
    assert ask(f"{counters}_offset_deletion_total") == 2


def test_bounds_of_histograms_rise(client, ask, broker):
    client.create_topic("bounds")
    metrics = broker.call(lambda app: collect(app.context, app.listeners))
    (times,) = [metric for metric in metrics if metric.name == "kafka_network_requestmetrics_totaltime_seconds"]
    bounds = [
        float(sample.labels["le"])
        for sample in times.samples
        if sample.name.endswith("_bucket") and sample.labels["request"] == "CreateTopics"
    ]
    assert bounds == sorted(bounds)
    assert bounds[-1] == math.inf
