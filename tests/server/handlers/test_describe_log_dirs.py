"""DescribeLogDirs against a live broker."""

import os

import pytest

from kstore.protocol.messages.describe_log_dirs import DescribeLogDirsRequest
from tests.fix_broker import batch

STORAGE_ERROR = 56


def describe(client, wanted=None, *, version=4):
    topics = None
    if wanted is not None:
        topics = [
            DescribeLogDirsRequest.DescribableLogDirTopic(topic=topic, partitions=indexes)
            for topic, indexes in wanted.items()
        ]
    answer = client.ask(DescribeLogDirsRequest(topics=topics), version)
    assert answer.error_code == 0
    return {result.log_dir: result for result in answer.results}


def sizes(result):
    return {
        (topic.name, part.partition_index): part.partition_size for topic in result.topics for part in topic.partitions
    }


@pytest.mark.parametrize("version", range(5))
def test_partitions_are_told_with_their_size(broker, client, version):
    topic = f"sized.{version}"
    client.create_topic(topic, 2)
    data = batch(b"x" * 1000)
    client.produce(topic, data, partition=1)
    (result,) = describe(client, version=version).values()
    assert (result.error_code, result.log_dir) == (0, broker.config.log_dirs[0])
    told = sizes(result)
    assert (told[topic, 0], told[topic, 1]) == (0, len(data))
    assert all(part.offset_lag == 0 and not part.is_future_key for each in result.topics for part in each.partitions)


def test_the_metadata_log_is_no_partition(client):
    (result,) = describe(client).values()
    assert not [name for name, _ in sizes(result) if name.startswith("__cluster")]


def test_the_volume_is_told(client):
    (result,) = describe(client).values()
    volume = os.statvfs(result.log_dir)
    assert result.total_bytes == volume.f_blocks * volume.f_frsize
    assert 0 < result.usable_bytes <= result.total_bytes


def test_partitions_may_be_chosen(client):
    client.create_topic("chosen", 3)
    wanted = {"chosen": [0, 2, 9], "nobody": [0]}
    (result,) = describe(client, wanted).values()
    assert set(sizes(result)) == {("chosen", 0), ("chosen", 2)}
    (result,) = describe(client, {}).values()
    assert result.topics == []


def test_each_directory_has_its_own_partitions(start_broker, tmp_path):
    directories = [str(tmp_path / name) for name in ("a", "b")]
    client = start_broker(",".join(directories)).connect()
    client.create_topic("two.places", 4)
    results = describe(client)
    assert list(results) == directories
    held = [set(sizes(result)) for result in results.values()]
    assert [len(each) for each in held] == [2, 2]
    assert len(held[0] | held[1]) == 4


def test_a_directory_that_has_failed_says_so(start_broker, tmp_path):
    directories = [str(tmp_path / name) for name in ("a", "b")]
    broker = start_broker(",".join(directories))
    client = broker.connect()
    client.create_topic("half.lost", 2)
    broker.call(lambda app: app.logs.dirs[1].fail("testing", OSError(5, "Input/output error")))
    results = describe(client)
    assert [result.error_code for result in results.values()] == [0, STORAGE_ERROR]
    assert results[directories[1]].topics == []
    assert len(sizes(results[directories[0]])) == 1
