"""SyncGroup, Heartbeat and LeaveGroup: the life of a member between two joins.

- Each may come only from who is a member, with its current id and generation; an administrator may take a static
  member out by its instance id alone (KIP-345).
- The leader's sync is the assignment of the generation. It is answered, like everybody's, when it is in the log;
  while it is on its way there a second one changes nothing.

(GroupCoordinator.scala: doSyncGroup, handleHeartbeat, handleLeaveGroup.)
"""

import logging
from collections.abc import Sequence

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.member import NO_ASSIGNMENT
from kstore.coordinator.group.rebalance import (
    AssignmentWrite,
    client_reason,
    has_synced,
    maybe_complete_join,
    members_left,
    quoted,
    remove_member,
    renew_session,
    take_sync_ticket,
)
from kstore.coordinator.group.requests import UNKNOWN_MEMBER_ID, LeavingMember, SyncRequest, Ticket
from kstore.coordinator.group.results import LeaveResult, LeftMember, SyncResult
from kstore.coordinator.group.state import COMPLETING_REBALANCE, DEAD, EMPTY, PREPARING_REBALANCE
from kstore.coordinator.group.turn import SESSION, Turn
from kstore.errors import (
    NONE,
    CoordinatorNotAvailableError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

logger = logging.getLogger(__name__)


def validate_generation(group: Group, generation_id: int) -> None:
    if generation_id != group.generation_id:
        raise IllegalGenerationError(f"{group.group_id!r} is at generation {group.generation_id}, not {generation_id}")


def refuse_dead(group: Group) -> None:
    if group.state is DEAD:
        raise CoordinatorNotAvailableError(f"{group.group_id!r} is being removed")


def sync(group: Group, request: SyncRequest, turn: Turn, ticket: Ticket) -> None:
    """Raises the refusal."""
    refuse_dead(group)
    member = group.validate_member(request.member_id, request.group_instance_id)
    validate_generation(group, request.generation_id)
    # Told by newer clients, so that nobody is assigned by another's rules (KIP-559).
    if request.protocol_type is not None and request.protocol_type != group.protocol_type:
        raise InconsistentGroupProtocolError(f"{group.group_id!r} is of type {group.protocol_type!r}")
    if request.protocol_name is not None and request.protocol_name != group.protocol_name:
        raise InconsistentGroupProtocolError(f"{group.group_id!r} goes by {group.protocol_name!r}")
    if group.state is EMPTY:
        raise UnknownMemberIdError(f"{group.group_id!r} has no members")
    if group.state is PREPARING_REBALANCE:
        raise RebalanceInProgressError(f"{group.group_id!r} waits for its members to join")
    has_synced(group, member, turn)
    if group.state is not COMPLETING_REBALANCE:
        turn.answer(ticket, SyncResult(group.protocol_type, group.protocol_name, member.assignment))
        renew_session(group, member, turn)
        return
    overtaken = RebalanceInProgressError(f"{member.member_id!r} has asked to sync once more")
    turn.answer(take_sync_ticket(member), overtaken)
    member.sync_ticket = ticket
    if group.leader_id == member.member_id and group.assignment_write is None:
        given = dict(request.assignments)
        assignments = {member_id: given.get(member_id, NO_ASSIGNMENT) for member_id in group.members}
        group.assignment_write = AssignmentWrite(group, assignments)
        turn.write(group.assignment_write)


def heartbeat(group: Group, member_id: str, generation_id: int, group_instance_id: str | None, turn: Turn) -> None:
    """Raises the refusal; that of a rebalance renews the session too."""
    refuse_dead(group)
    member = group.validate_member(member_id, group_instance_id)
    validate_generation(group, generation_id)
    if group.state is EMPTY:
        raise UnknownMemberIdError(f"{group.group_id!r} has no members")
    renew_session(group, member, turn)
    if group.state is PREPARING_REBALANCE:
        raise RebalanceInProgressError(f"{group.group_id!r} waits for its members to join")


def leave(group: Group, leaving: Sequence[LeavingMember], turn: Turn, ticket: Ticket) -> None:
    """Members that cannot leave are told so one by one. Raises the refusal of all."""
    refuse_dead(group)
    count = len(group.members)
    left = [LeftMember(member.member_id, member.group_instance_id, _leave(group, member, turn)) for member in leaving]
    if len(group.members) < count:
        members_left(group, turn, "members have left")
    else:
        # Who was only pending is waited for no longer, and had no part in the generation.
        maybe_complete_join(group, turn)
    turn.forget_if_vacant(group)
    turn.answer(ticket, LeaveResult(left))


def _leave(group: Group, leaving: LeavingMember, turn: Turn) -> int:
    member_id = leaving.member_id
    if member_id == UNKNOWN_MEMBER_ID and leaving.group_instance_id is not None:
        member_id = group.static_members.get(leaving.group_instance_id, UNKNOWN_MEMBER_ID)
    if member_id in group.pending_members:
        turn.timers.cancel((SESSION, group.group_id, member_id))
        group.remove(member_id)
        return NONE
    try:
        member = group.validate_member(member_id, leaving.group_instance_id)
    except KafkaError as error:
        return error.code
    logger.info("%s: %s leaves; %s", group, quoted(member_id), client_reason(leaving.reason))
    remove_member(group, member, turn)
    return NONE
