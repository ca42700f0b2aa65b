"""How fast is the wire: Produce and Fetch by hand, the same by table, and a large Metadata answer.

`us` is per message; the first three are what every produce of one partition costs in the codec.
"""

from typing import Any

import pytest

from kstore._native import hot_messages
from kstore.protocol.headers import encode_request_header
from kstore.protocol.messages.fetch import FetchRequest, FetchResponse
from kstore.protocol.messages.metadata import MetadataRequest, MetadataResponse
from kstore.protocol.messages.produce import ProduceRequest

ROUNDS = {"rounds": 200, "iterations": 200, "warmup_rounds": 5}


def produce_frame(partitions: int) -> tuple[bytes, int]:
    part = ProduceRequest.PartitionProduceData
    data = [part(index=index, records=b"r" * 1024) for index in range(partitions)]
    request = ProduceRequest(
        acks=1, timeout_ms=30_000, topic_data=[ProduceRequest.TopicProduceData(name="orders", partition_data=data)]
    )
    header = encode_request_header(0, 9, 77, "producer-1")
    return header + request.encode(9), len(header)


def fetch_frame(partitions: int) -> bytes:
    wanted = [FetchRequest.FetchPartition(partition=index, fetch_offset=1 << 33) for index in range(partitions)]
    topic = FetchRequest.FetchTopic(topic_id=b"0123456789abcdef", partitions=wanted)
    return FetchRequest(max_wait_ms=500, min_bytes=1, topics=[topic]).encode(17)


def metadata_answer(topics: int) -> Any:
    partition = MetadataResponse.MetadataResponsePartition(leader_id=1, replica_nodes=[1, 2, 3], isr_nodes=[1, 2, 3])
    names = [f"topic-{index}" for index in range(topics)]
    return MetadataResponse(
        brokers=[MetadataResponse.MetadataResponseBroker(node_id=1, host="localhost", port=9092)],
        topics=[MetadataResponse.MetadataResponseTopic(name=name, partitions=[partition]) for name in names],
    )


@pytest.mark.benchmark(group="wire: every request")
def test_request_header_decode(benchmark: Any) -> None:
    frame, _ = produce_frame(1)
    benchmark.pedantic(hot_messages.decode_request_header, (frame, 0, len(frame)), **ROUNDS)


@pytest.mark.benchmark(group="wire: produce")
@pytest.mark.parametrize("partitions", [1, 100])
def test_produce_decode_by_hand(benchmark: Any, partitions: int) -> None:
    frame, body = produce_frame(partitions)
    benchmark.pedantic(hot_messages.decode_produce, (frame, body, len(frame), 9), **ROUNDS)


@pytest.mark.benchmark(group="wire: produce")
@pytest.mark.parametrize("partitions", [1, 100])
def test_produce_answer_by_hand(benchmark: Any, partitions: int) -> None:
    topics = [("orders", [(index, 0, 1 << 33, -1, 0, None, None, None) for index in range(partitions)])]
    benchmark.pedantic(hot_messages.encode_produce_response, (77, 9, topics), **ROUNDS)


@pytest.mark.benchmark(group="wire: produce")
def test_produce_decode_by_table(benchmark: Any) -> None:
    frame, body = produce_frame(1)
    benchmark.pedantic(ProduceRequest.decode, (frame, body, len(frame), 9), **ROUNDS)


@pytest.mark.benchmark(group="wire: fetch")
@pytest.mark.parametrize("partitions", [1, 100])
def test_fetch_decode_by_hand(benchmark: Any, partitions: int) -> None:
    data = fetch_frame(partitions)
    benchmark.pedantic(hot_messages.decode_fetch, (data, 0, len(data), 17), **ROUNDS)


@pytest.mark.benchmark(group="wire: fetch")
@pytest.mark.parametrize("partitions", [1, 100])
def test_fetch_answer_by_hand(benchmark: Any, partitions: int) -> None:
    records = bytes(4096)
    results = [(index, 0, 9, 9, 0, None, -1, records, None, None, None) for index in range(partitions)]
    topics = [(None, b"0123456789abcdef", results)]
    benchmark.pedantic(hot_messages.encode_fetch_response, (77, 17, 0, 0, 0, topics), **ROUNDS)


@pytest.mark.benchmark(group="wire: fetch")
def test_fetch_answer_by_table(benchmark: Any) -> None:
    partition = FetchResponse.PartitionData(records=bytes(4096))
    answer = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(partitions=[partition])])
    benchmark.pedantic(answer.encode, (17,), **ROUNDS)


@pytest.mark.benchmark(group="wire: metadata")
def test_metadata_request_decode(benchmark: Any) -> None:
    data = MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name="orders")]).encode(12)
    benchmark.pedantic(MetadataRequest.decode, (data, 0, len(data), 12), **ROUNDS)


@pytest.mark.benchmark(group="wire: metadata of 1,000 topics")
def test_metadata_answer_encode(benchmark: Any) -> None:
    benchmark.pedantic(metadata_answer(1000).encode, (12,), rounds=50, warmup_rounds=5)


@pytest.mark.benchmark(group="wire: metadata of 1,000 topics")
def test_metadata_answer_decode(benchmark: Any) -> None:
    data = metadata_answer(1000).encode(12)
    benchmark.pedantic(MetadataResponse.decode, (data, 0, len(data), 12), rounds=50, warmup_rounds=5)
