"""One member of a group: who it is, what it can do, what it was assigned, and what it waits for.

`join_ticket` is set while the member waits for the group to complete its join, `sync_ticket` while it waits for
its assignment. A member that waits does not heartbeat and is not expired for it, except one that is new: nobody
knows whether its client is still there (MemberMetadata.scala).
"""

from collections.abc import Container, Sequence

from kstore.coordinator.group.requests import Ticket

NO_ASSIGNMENT = b""


class Member:
    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "group_instance_id",
        "is_new",
        "join_ticket",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session_timeout_ms",
        "sync_ticket",
    )

    def __init__(
        self,
        *,
        member_id: str,
        group_instance_id: str | None,
        client_id: str,
        client_host: str,
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
        protocols: Sequence[tuple[str, bytes]],
        assignment: bytes = NO_ASSIGNMENT,
    ) -> None:
        self.member_id = member_id
        self.group_instance_id = group_instance_id
        self.client_id = client_id
        self.client_host = client_host
        self.session_timeout_ms = session_timeout_ms
        self.rebalance_timeout_ms = rebalance_timeout_ms
        self.protocols = tuple(protocols)
        self.assignment = assignment
        self.is_new = False
        self.join_ticket: Ticket | None = None
        self.sync_ticket: Ticket | None = None

    @property
    def is_static(self) -> bool:
        return self.group_instance_id is not None

    @property
    def protocol_names(self) -> set[str]:
        """Each once, however often the client named it."""
        return {name for name, _ in self.protocols}

    @property
    def needs_no_heartbeat(self) -> bool:
        return not self.is_new and (self.join_ticket is not None or self.sync_ticket is not None)

    def metadata(self, protocol_name: str) -> bytes:
        for name, metadata in self.protocols:
            if name == protocol_name:
                return metadata
        raise AssertionError(f"member {self.member_id} has no protocol {protocol_name}")

    def has_protocols(self, protocols: Sequence[tuple[str, bytes]]) -> bool:
        """The same names with the same metadata in the same order."""
        return self.protocols == tuple(protocols)

    def vote(self, candidates: Container[str]) -> str:
        for name, _ in self.protocols:
            if name in candidates:
                return name
        raise AssertionError(f"member {self.member_id} supports none of the candidates")
