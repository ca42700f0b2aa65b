"""aiokafka: asyncio, old ceilings (Produce 8, Fetch 11, Metadata 5, InitProducerId 0)."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.interop import conftest


async def produce(bootstrap: str, topic: str, values: list[bytes], **settings: Any) -> list[int]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, **settings)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, partition=0, headers=[("h", b"1")]) for value in values]
        return [(await future).offset for future in sent]
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str, count: int, offset: int = 0, **settings: Any) -> list[Any]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None, **settings)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, offset)
        return [await asyncio.wait_for(consumer.getone(), 30) for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("codec", [None, "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize(
    "settings", [{"acks": 1}, {"acks": "all"}, {"enable_idempotence": True}], ids=["acks-1", "acks-all", "idempotent"]
)
def test_producer_and_consumer(
    bootstrap: str, new_topic: conftest.NewTopic, codec: str | None, settings: dict[str, Any]
) -> None:
    topic = new_topic()
    values = [b"value %d " % number * (number % 20) for number in range(300)]
    offsets = asyncio.run(produce(bootstrap, topic, values, compression_type=codec, **settings))
    assert offsets == list(range(300))
    read = asyncio.run(consume(bootstrap, topic, 300))
    assert [record.value or b"" for record in read] == values
    assert {record.headers for record in read} == {(("h", b"1"),)}


def test_consumer_finds_offsets(bootstrap: str, new_topic: conftest.NewTopic) -> None:
    topic = new_topic()

    async def find() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        for number in range(10):
            stamp = 1_700_000_000_000 + number * 1000
            await producer.send_and_wait(topic, b"%d" % number, partition=0, timestamp_ms=stamp)
        await producer.stop()
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
        await consumer.start()
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        assert await consumer.beginning_offsets([partition]) == {partition: 0}
        assert await consumer.end_offsets([partition]) == {partition: 10}
        found = (await consumer.offsets_for_times({partition: 1_700_000_000_000 + 6_500}))[partition]
        assert (found.offset, found.timestamp) == (7, 1_700_000_007_000)
        await consumer.stop()

    asyncio.run(find())
    assert [record.value for record in asyncio.run(consume(bootstrap, topic, 2, offset=8))] == [b"8", b"9"]


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_isolation_levels(bootstrap: str, new_topic: conftest.NewTopic, isolation: str) -> None:
    topic = new_topic()
    asyncio.run(produce(bootstrap, topic, [b"seen"]))
    assert len(asyncio.run(consume(bootstrap, topic, 1, isolation_level=isolation))) == 1


def test_admin_makes_and_deletes_topics(bootstrap: str) -> None:
    name = "made-by-aiokafka"

    async def administer() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(name=name, num_partitions=2, replication_factor=1)])
        async with asyncio.timeout(20):
            while name not in await admin.list_topics():
                await asyncio.sleep(0.02)
            await admin.delete_topics([name])
            while name in await admin.list_topics():
                await asyncio.sleep(0.02)
        await admin.close()

    asyncio.run(administer())


def test_group_shares_commits_and_goes_on(
    bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup
) -> None:
    topic, group = new_topic(partitions=2), new_group()

    async def member() -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=300,
        )
        await consumer.start()
        return consumer

    async def read(*consumers: AIOKafkaConsumer, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            for consumer in consumers:
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    found += [int(record.value) for record in records]
        return sorted(found)

    async def work() -> None:
        one, two = await member(), await member()
        while not len(one.assignment()) == len(two.assignment()) == 1:
            await asyncio.sleep(0.02)
        await produce(bootstrap, topic, [b"%d" % number for number in range(20)])
        assert await read(one, two, count=20) == list(range(20))
        for consumer in (one, two):
            await consumer.commit()
        await one.stop()
        while len(two.assignment()) != 2:
            await asyncio.sleep(0.02)
        assert await two.committed(TopicPartition(topic, 0)) == 20
        await produce(bootstrap, topic, [b"20", b"21"])
        assert await read(two, count=2) == [20, 21]
        await two.stop()

    asyncio.run(asyncio.wait_for(work(), 60))


def test_admin_sees_groups(bootstrap: str, new_topic: conftest.NewTopic, new_group: conftest.NewGroup) -> None:
    topic, group = new_topic(), new_group()
    partition = TopicPartition(topic, 0)

    async def administer() -> None:
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group)
        await consumer.start()
        consumer.assign([partition])
        await consumer.commit({partition: (5, "by hand")})
        await consumer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        assert (group, "") in await admin.list_consumer_groups()
        offsets = await admin.list_consumer_group_offsets(group)
        assert (offsets[partition].offset, offsets[partition].metadata) == (5, "by hand")
        (described,) = await admin.describe_consumer_groups([group])
        assert described.groups[0][:3] == (0, group, "Empty")
        await admin.close()

    asyncio.run(asyncio.wait_for(administer(), 60))
