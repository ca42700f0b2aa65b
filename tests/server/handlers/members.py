"""A member of a group that speaks raw protocol, in any version of each API."""

from typing import Any

from kstore.protocol.messages import schema
from kstore.protocol.messages.find_coordinator import FindCoordinatorRequest
from kstore.protocol.messages.heartbeat import HeartbeatRequest
from kstore.protocol.messages.join_group import JoinGroupRequest
from kstore.protocol.messages.leave_group import LeaveGroupRequest
from kstore.protocol.messages.offset_commit import OffsetCommitRequest
from kstore.protocol.messages.offset_fetch import OffsetFetchRequest
from kstore.protocol.messages.sync_group import SyncGroupRequest
from tests.fix_broker import Client

MEMBER_ID_REQUIRED = 79
NEWEST = 9


def capped(api_key: int, version: int) -> int:
    """The version, or the API's newest if it has not come that far."""
    newest: int = schema(api_key)[0].max_version
    return min(version, newest)


class Member:
    def __init__(self, client: Client, group_id: str, *, version: int = NEWEST, instance_id: str | None = None) -> None:
        self.client = client
        self.group_id = group_id
        self.version = version
        self.instance_id = instance_id
        self.member_id = ""
        self.generation = -1

    def ask(self, request: Any, version: int | None = None) -> Any:
        return self.client.ask(request, capped(type(request).api_key, self.version if version is None else version))

    def find(self) -> None:
        """Makes sure that there is a coordinator."""
        self.ask(FindCoordinatorRequest(key=self.group_id), 3)

    def join_request(self, *protocols: tuple[str, bytes], session_timeout_ms: int = 10_000) -> Any:
        return JoinGroupRequest(
            group_id=self.group_id,
            session_timeout_ms=session_timeout_ms,
            rebalance_timeout_ms=60_000,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type="consumer",
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name, metadata in protocols or [("range", b"metadata")]
            ],
        )

    def join(self, *protocols: tuple[str, bytes], **options: Any) -> Any:
        """Joins, and once more where the first time only gives an id."""
        answer = self.ask(self.join_request(*protocols, **options))
        if answer.error_code == MEMBER_ID_REQUIRED:
            self.member_id = answer.member_id
            answer = self.ask(self.join_request(*protocols, **options))
        return self.joined(answer)

    def joined(self, answer: Any) -> Any:
        self.member_id, self.generation = answer.member_id, answer.generation_id
        return answer

    def sync_request(self, assignments: dict[str, bytes], **fields: Any) -> Any:
        named = {"protocol_type": "consumer", "protocol_name": "range"} if self.version >= 5 else {}
        return SyncGroupRequest(
            **{
                "group_id": self.group_id,
                "generation_id": self.generation,
                "member_id": self.member_id,
                "group_instance_id": self.instance_id,
                "assignments": [
                    SyncGroupRequest.SyncGroupRequestAssignment(member_id=member_id, assignment=assignment)
                    for member_id, assignment in assignments.items()
                ],
                **named,
                **fields,
            }
        )

    def sync(self, assignments: dict[str, bytes], **fields: Any) -> Any:
        return self.ask(self.sync_request(assignments, **fields))

    def heartbeat(self) -> int:
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
        )
        code: int = self.ask(request).error_code
        return code

    def settle(self) -> None:
        """Joins and syncs as the only member."""
        assert self.join().error_code == 0
        assert self.sync({self.member_id: b"all"}).error_code == 0

    def commit(self, offsets: dict[tuple[str, int], int], **fields: Any) -> dict[tuple[str, int], int]:
        """The error code of each partition."""
        as_member = {"generation_id_or_member_epoch": self.generation, "member_id": self.member_id}
        request = OffsetCommitRequest(
            group_id=self.group_id,
            group_instance_id=self.instance_id,
            topics=by_topic(
                OffsetCommitRequest.OffsetCommitRequestTopic,
                {
                    (topic, index): OffsetCommitRequest.OffsetCommitRequestPartition(
                        partition_index=index, committed_offset=offset, committed_metadata=f"at {offset}"
                    )
                    for (topic, index), offset in offsets.items()
                },
            ),
            **({**as_member, **fields} if self.version >= 1 else {}),
        )
        answer = self.ask(request)
        return {
            (topic.name, each.partition_index): each.error_code for topic in answer.topics for each in topic.partitions
        }

    def fetch(self, *partitions: tuple[str, int], everything: bool = False) -> Any:
        """The answer for this group: (error code, (topic, partition) -> (offset, metadata, error code))."""
        version = capped(9, self.version)
        kind = "OffsetFetchRequestTopics" if version >= 8 else "OffsetFetchRequestTopic"
        topics: Any = None
        if not everything:
            names = dict.fromkeys(topic for topic, _ in partitions)
            topics = [
                getattr(OffsetFetchRequest, kind)(
                    name=name, partition_indexes=[index for topic, index in partitions if topic == name]
                )
                for name in names
            ]
        if version >= 8:
            group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id=self.group_id, topics=topics)
            (answer,) = self.ask(OffsetFetchRequest(groups=[group])).groups
        else:
            answer = self.ask(OffsetFetchRequest(group_id=self.group_id, topics=topics))
        return answer.error_code, {
            (topic.name, each.partition_index): (each.committed_offset, each.metadata, each.error_code)
            for topic in answer.topics
            for each in topic.partitions
        }

    def leave(self) -> int:
        """The error code of the member that leaves."""
        if self.version < 3:
            return int(self.ask(LeaveGroupRequest(group_id=self.group_id, member_id=self.member_id)).error_code)
        identity = LeaveGroupRequest.MemberIdentity(member_id=self.member_id, group_instance_id=self.instance_id)
        answer = self.ask(LeaveGroupRequest(group_id=self.group_id, members=[identity]))
        assert answer.error_code == 0
        (member,) = answer.members
        return int(member.error_code)


def by_topic(kind: Any, partitions: dict[tuple[str, int], Any]) -> list[Any]:
    topics: dict[str, list[Any]] = {}
    for (topic, _), each in partitions.items():
        topics.setdefault(topic, []).append(each)
    return [kind(name=name, partitions=each) for name, each in topics.items()]
