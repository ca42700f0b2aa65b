"""DescribeLogDirs

API 35, versions 0-4
KIP-113 what lies where, KIP-827 the size of the volume and what is free (4)
Kafka: KafkaApis.handleDescribeLogDirsRequest, ReplicaManager.describeLogDirs, DescribeLogDirsRequest.json
"""

import os
from collections.abc import Collection
from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaStorageError
from kstore.log.log_dir import LogDir
from kstore.model import TopicPartition
from kstore.protocol.messages.describe_log_dirs import DescribeLogDirsRequest, DescribeLogDirsResponse
from kstore.server.context import Context
from kstore.server.respond import respond_later

VOLUME_FROM = 4
MAX_INT64 = 2**63 - 1


def handle(context: Context, request: Request) -> object:
    version = request.api_version
    asked = DescribeLogDirsRequest.decode(request.buffer, request.position, request.limit, version)
    wanted = None
    if asked.topics is not None:
        wanted = {TopicPartition(topic.topic, index) for topic in asked.topics for index in topic.partitions}
    return respond_later(context, request, describe(context, wanted, with_volume=version >= VOLUME_FROM))


async def describe(context: Context, wanted: Collection[TopicPartition] | None, *, with_volume: bool) -> Any:
    results = []
    for log_dir in context.replicas.logs.dirs:
        # A volume that does not answer holds up nobody else.
        volume = None
        if with_volume and log_dir.failure is None:
            volume = await context.loop.run_in_executor(None, volume_of, log_dir.path)
        results.append(describe_one(context, log_dir, wanted, volume))
    return DescribeLogDirsResponse(results=results)


def describe_one(
    context: Context,
    log_dir: LogDir,
    wanted: Collection[TopicPartition] | None,
    volume: tuple[int, int] | None,
) -> Any:
    result = DescribeLogDirsResponse.DescribeLogDirsResult(log_dir=log_dir.path)
    if log_dir.failure is not None:
        result.error_code = KafkaStorageError.code
        return result
    if volume is not None:
        result.total_bytes, result.usable_bytes = volume
    topics: dict[str, list[Any]] = {}
    for partition in context.replicas:
        topic, index = partition.topic_partition
        if partition.log.log_dir is log_dir and (wanted is None or partition.topic_partition in wanted):
            topics.setdefault(topic, []).append(
                DescribeLogDirsResponse.DescribeLogDirsPartition(
                    partition_index=index,
                    partition_size=partition.log.size_in_bytes,
                    offset_lag=max(0, partition.log.high_watermark - partition.log.log_end_offset),
                )
            )
    for topic_partition, copy in context.replicas.logs.moves.futures.items():
        replica = context.replicas.partitions.get(topic_partition)
        if copy.log_dir is log_dir and replica is not None and (wanted is None or topic_partition in wanted):
            topics.setdefault(topic_partition.topic, []).append(
                DescribeLogDirsResponse.DescribeLogDirsPartition(
                    partition_index=topic_partition.partition,
                    partition_size=copy.size_in_bytes,
                    offset_lag=max(0, replica.log.log_end_offset - copy.log_end_offset),
                    is_future_key=True,
                )
            )
    result.topics = [
        DescribeLogDirsResponse.DescribeLogDirsTopic(name=name, partitions=partitions)
        for name, partitions in topics.items()
    ]
    return result


def volume_of(path: str) -> tuple[int, int] | None:
    """Bytes of the volume, and those that we may still use; None where it does not say."""
    try:
        volume = os.statvfs(path)
    except OSError:
        return None
    total, usable = volume.f_blocks * volume.f_frsize, volume.f_bavail * volume.f_frsize
    return min(total, MAX_INT64), min(usable, MAX_INT64)
