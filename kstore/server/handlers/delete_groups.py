"""DeleteGroups

API 42, versions 0-2
KIP-229: a group without members is forgotten, and its offsets with it
Kafka: KafkaApis.handleDeleteGroupsRequest, GroupCoordinator.handleDeleteGroups, DeleteGroupsRequest.json
"""

from typing import Any

from kstore._native.connection import Request
from kstore.errors import KafkaError
from kstore.protocol.messages.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from kstore.server.context import Context
from kstore.server.respond import respond
from kstore.server.ticket import Ticket


class Part:
    """The groups of one shard; the last part that is answered answers the request."""

    __slots__ = ("_codes", "_group_ids", "_waiting", "_whole")

    def __init__(self, group_ids: list[str], codes: dict[str, int], whole: Ticket, waiting: "set[Part]") -> None:
        self._group_ids = group_ids
        self._codes = codes
        self._whole = whole
        self._waiting = waiting
        waiting.add(self)

    def answer(self, result: Any) -> None:
        codes = [result.code] * len(self._group_ids) if isinstance(result, KafkaError) else result
        self._codes.update(zip(self._group_ids, codes, strict=True))
        self._waiting.discard(self)
        if not self._waiting:
            self._whole.answer(self._codes)


def handle(context: Context, request: Request) -> object:
    asked = DeleteGroupsRequest.decode(request.buffer, request.position, request.limit, request.api_version)
    shards = context.groups.by_shard(asked.groups_names)
    if not shards:
        return respond(request, DeleteGroupsResponse())
    whole = Ticket(request, answer)
    waiting: set[Part] = set()
    codes: dict[str, int] = {}
    parts = [(Part(group_ids, codes, whole, waiting), group_ids) for group_ids in shards.values()]
    for part, group_ids in parts:
        delete(context, part, group_ids)
    return whole.taken()


def delete(context: Context, part: Part, group_ids: list[str]) -> None:
    context.groups.decide(
        group_ids[0], part, lambda shard, monotonic_ms: shard.delete_groups(part, group_ids, monotonic_ms)
    )


def answer(codes: dict[str, int]) -> Any:
    return DeleteGroupsResponse(
        results=[
            DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=code)
            for group_id, code in codes.items()
        ]
    )
