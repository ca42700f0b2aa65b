"""JoinGroup: who may be a member, and what a join means in each state of the group.

- A dynamic member without an id is given one and asked to join with it; until then it is pending, for its session
  time-out, and the group waits for it (KIP-394).
- A static member without an id takes the place of whoever had its instance id, who is fenced. In a stable group
  that is one record and no rebalance, unless the group's protocol would change (KIP-345); the leader is told from
  version 9 on that it leads and need not assign (KIP-814), and before that the old leader's id, so that it does not.
- A member that joins again with the same metadata, having missed the answer, gets the current generation; the
  leader of a stable group begins a new one by joining, whatever its metadata: topics may have changed.

(GroupCoordinator.scala: handleJoinGroup to updateStaticMemberAndRebalance.)
"""

import logging

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.member import Member
from kstore.coordinator.group.rebalance import (
    client_reason,
    join_result,
    maybe_complete_join,
    prepare_rebalance,
    quoted,
    release,
    renew_session,
)
from kstore.coordinator.group.requests import UNKNOWN_MEMBER_ID, JoinRequest, Ticket
from kstore.coordinator.group.state import (
    COMPLETING_REBALANCE,
    DEAD,
    EMPTY,
    PREPARING_REBALANCE,
    STABLE,
)
from kstore.coordinator.group.turn import SESSION, GroupWrite, Turn, group_append_error
from kstore.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    KafkaError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

logger = logging.getLogger(__name__)


def join(group: Group, request: JoinRequest, turn: Turn, ticket: Ticket, new_id: str) -> None:
    """`new_id` makes a member id unique. Raises the refusal."""
    if not has_room_for(group, request.member_id, turn.config.max_size):
        # Above the limit even a known member goes, unless it came in time (KIP-389).
        expel(group, request.member_id, turn)
        raise GroupMaxSizeReachedError(f"{group.group_id!r} may have {turn.config.max_size} members")
    if group.state is DEAD:
        raise CoordinatorNotAvailableError(f"{group.group_id!r} is being removed")
    if not group.supports(request.protocol_type, [name for name, _ in request.protocols]):
        raise InconsistentGroupProtocolError(
            f"{group.group_id!r} is of type {group.protocol_type!r} and has no protocol in common with the member"
        )
    if request.member_id == UNKNOWN_MEMBER_ID:
        _join_as_somebody_new(group, request, turn, ticket, new_id)
    elif request.member_id in group.pending_members and request.group_instance_id is None:
        _add_member(group, request, request.member_id, turn, ticket)
    else:
        _join_again(group, request, turn, ticket)
    maybe_complete_join(group, turn)


def has_room_for(group: Group, member_id: str, max_size: int) -> bool:
    """In a rebalance those who have joined count, so that a group which is too large loses its last comers."""
    if group.state is EMPTY or group.state is DEAD:
        return True
    member = group.members.get(member_id)
    if group.state is PREPARING_REBALANCE:
        return (member is not None and member.join_ticket is not None) or group.members_joining < max_size
    return member is not None or len(group.members) < max_size


def expel(group: Group, member_id: str, turn: Turn) -> None:
    turn.timers.cancel((SESSION, group.group_id, member_id))
    group.remove(member_id)
    maybe_complete_join(group, turn)


def _join_as_somebody_new(group: Group, request: JoinRequest, turn: Turn, ticket: Ticket, new_id: str) -> None:
    instance_id = request.group_instance_id
    if instance_id is None:
        member_id = f"{request.client_id}-{new_id}"
        if not request.requires_known_member_id:
            _add_member(group, request, member_id, turn, ticket)
            return
        group.pending_members.add(member_id)
        turn.timers.set((SESSION, group.group_id, member_id), turn.monotonic_ms + request.session_timeout_ms)
        error = MemberIdRequiredError(f"join {group.group_id!r} with member id {member_id!r}")
        error.member_id = member_id
        raise error
    member_id = f"{instance_id}-{new_id}"
    old_member_id = group.static_members.get(instance_id)
    if old_member_id is None:
        _add_member(group, request, member_id, turn, ticket)
    else:
        _replace_static_member(group, request, old_member_id, member_id, turn, ticket)


def _add_member(group: Group, request: JoinRequest, member_id: str, turn: Turn, ticket: Ticket) -> None:
    member = Member(
        member_id=member_id,
        group_instance_id=request.group_instance_id,
        client_id=request.client_id,
        client_host=request.client_host,
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=request.rebalance_timeout_ms,
        protocols=request.protocols,
    )
    member.is_new = True
    if group.state is PREPARING_REBALANCE and group.generation_id == 0:
        group.new_member_added = True
    group.add(member, request.protocol_type)
    group.park_join(member, ticket)
    renew_session(group, member, turn)
    if group.can_rebalance:
        prepare_rebalance(group, turn, f"{quoted(member_id)} joins; {client_reason(request.reason)}")


def _join_again(group: Group, request: JoinRequest, turn: Turn, ticket: Ticket) -> None:
    member = group.validate_member(request.member_id, request.group_instance_id)
    state = group.state
    if state is EMPTY:
        raise UnknownMemberIdError(f"{group.group_id!r} has no members")
    leads = group.leader_id == member.member_id
    has_missed_its_answer = state is COMPLETING_REBALANCE or (state is STABLE and not leads)
    if has_missed_its_answer and member.has_protocols(request.protocols):
        turn.answer(ticket, join_result(group, member))
    else:
        _update_member(group, member, request, turn, ticket)
        if group.can_rebalance:
            prepare_rebalance(group, turn, f"{quoted(member.member_id)} joins again; {client_reason(request.reason)}")


def _update_member(group: Group, member: Member, request: JoinRequest, turn: Turn, ticket: Ticket) -> None:
    overtaken = RebalanceInProgressError(f"{member.member_id!r} has asked to join once more")
    turn.answer(group.take_join_ticket(member), overtaken)
    group.change_protocols(member, request.protocols)
    member.rebalance_timeout_ms = request.rebalance_timeout_ms
    member.session_timeout_ms = request.session_timeout_ms
    group.park_join(member, ticket)


def _replace_static_member(
    group: Group, request: JoinRequest, old_member_id: str, member_id: str, turn: Turn, ticket: Ticket
) -> None:
    old, new, why = quoted(old_member_id), quoted(member_id), client_reason(request.reason)
    logger.info("%s: %s takes the place of %s; %s", group, new, old, why)
    member = group.members[old_member_id]
    before = Replaced(group, member)
    release(group, member, turn, FencedInstanceIdError(f"{member_id!r} has taken the place of {old_member_id!r}"))
    turn.timers.cancel((SESSION, group.group_id, old_member_id))
    group.replace_static_member(old_member_id, member_id)
    _update_member(group, member, request, turn, ticket)
    renew_session(group, member, turn)
    if group.state is STABLE and group.select_protocol() == group.protocol_name:
        turn.write(ReplacementWrite(group, member, before, request.supports_skip_assignment))
    elif group.can_rebalance:
        # In a generation whose leader is assigning, the old id may be in its assignment and the new one is not.
        prepare_rebalance(group, turn, f"{new} takes the place of {old}")


class Replaced:
    """What a static member was before another took its place."""

    __slots__ = ("leader_id", "member_id", "protocols", "rebalance_timeout_ms", "session_timeout_ms")

    def __init__(self, group: Group, member: Member) -> None:
        self.leader_id = group.leader_id
        self.member_id = member.member_id
        self.protocols = member.protocols
        self.rebalance_timeout_ms = member.rebalance_timeout_ms
        self.session_timeout_ms = member.session_timeout_ms


class ReplacementWrite(GroupWrite):
    """A stable group in which a static member has a new id: its join is answered when that is in the log, and
    taken back when it cannot be."""

    __slots__ = ("before", "member", "skips_assignment", "ticket")

    def __init__(self, group: Group, member: Member, before: Replaced, skips_assignment: bool) -> None:
        assignments = {known.member_id: known.assignment for known in group.members.values()}
        super().__init__(group, [group.record(assignments)])
        self.member = member
        self.before = before
        self.skips_assignment = skips_assignment
        self.ticket = member.join_ticket
        assert self.ticket is not None

    @property
    def is_awaited(self) -> bool:
        """Neither has the member been replaced again or gone, nor has a rebalance answered its join, nor will one."""
        return self.group.state is STABLE and self.member.join_ticket is self.ticket

    def committed(self, turn: Turn, base_offset: int) -> None:
        group, member = self.group, self.member
        if not self.is_awaited:
            return
        result = join_result(group, member)
        is_leader = group.leader_id == member.member_id
        if self.skips_assignment:
            result = result._replace(skip_assignment=is_leader)
        else:
            result = result._replace(leader=self.before.leader_id or "", members=())
        turn.answer(group.take_join_ticket(member), result)
        renew_session(group, member, turn)

    def failed(self, turn: Turn, error: KafkaError) -> None:
        group, member, before = self.group, self.member, self.before
        logger.warning("%s: the new id of %s was not written: %s", group, quoted(before.member_id), error)
        if not self.is_awaited:
            return
        turn.answer(group.take_join_ticket(member), group_append_error(error))
        turn.timers.cancel((SESSION, group.group_id, member.member_id))
        group.change_protocols(member, before.protocols)
        member.rebalance_timeout_ms = before.rebalance_timeout_ms
        member.session_timeout_ms = before.session_timeout_ms
        group.replace_static_member(member.member_id, before.member_id)
        renew_session(group, member, turn)
