"""From one generation to the next: who is waited for, how long, and who is left behind.

- A group that fills for the first time waits group.initial.rebalance.delay.ms, and as long again when somebody came
  meanwhile, in all at most the rebalance time-out of its first member (KIP-134).
- Afterwards it waits until all members and pending members have joined, at most the longest rebalance time-out of
  them; dynamic members that have not joined by then are out, static ones stay until their session ends.
- A new generation waits as long again for everybody to ask for the assignment; who does not is out (KAFKA-13235).
- A session is renewed by whatever shows that the client lives. A new member, whose client may not even know its id,
  has five minutes instead.

Nobody is left without an answer: whoever leaves, is replaced or is overtaken while waiting is told so.
(GroupCoordinator.scala: prepareRebalance, onCompleteJoin, onExpireHeartbeat, onExpirePendingSync.)
"""

import logging
from collections.abc import Sequence

from kstore.coordinator.group.group import Group
from kstore.coordinator.group.member import NO_ASSIGNMENT, Member
from kstore.coordinator.group.requests import Ticket
from kstore.coordinator.group.results import JoinResult, SyncResult
from kstore.coordinator.group.state import COMPLETING_REBALANCE, EMPTY, PREPARING_REBALANCE, STABLE
from kstore.coordinator.group.turn import JOIN, SESSION, SYNC, GroupWrite, Turn, group_append_error
from kstore.errors import KafkaError, RebalanceInProgressError, UnknownMemberIdError

logger = logging.getLogger(__name__)

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000
# A group whose members have all gone silent is looked at again after its rebalance time-out, however short a
# client made that: each look costs a turn.
SHORTEST_POSTPONEMENT_MS = 1000
# Of a client's words in a line of the log: as much as clients of Kafka make a reason long (KIP-800).
MAX_QUOTED = 255
MAX_NAMED = 3


def quoted(text: str) -> str:
    return repr(text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}...")


def client_reason(reason: str | None) -> str:
    return f"client reason: {quoted(reason)}" if reason else "no client reason"


def some_of(member_ids: Sequence[str]) -> str:
    names = ", ".join(map(quoted, member_ids[:MAX_NAMED]))
    more = len(member_ids) - MAX_NAMED
    return f"{names} and {more} more" if more > 0 else names


class EmptyGenerationWrite(GroupWrite):
    """The group has no members any more. Should this not be written, a restart brings the last ones back for a
    session time-out: no harm is done."""

    def failed(self, turn: Turn, error: KafkaError) -> None:
        logger.warning("%s: its being empty was not written: %s", self.group, error)


# Sessions


def renew_session(group: Group, member: Member, turn: Turn) -> None:
    timeout_ms = NEW_MEMBER_JOIN_TIMEOUT_MS if member.is_new else member.session_timeout_ms
    turn.timers.set((SESSION, group.group_id, member.member_id), turn.monotonic_ms + timeout_ms)


def session_ended(group: Group, member_id: str, turn: Turn) -> None:
    if member_id in group.pending_members:
        group.remove(member_id)
        maybe_complete_join(group, turn)
        turn.forget_if_vacant(group)
        return
    member = group.members.get(member_id)
    # Who waits for us need not heartbeat: the session begins anew with the answer.
    if member is not None and not member.needs_no_heartbeat:
        logger.info("%s: member %s has failed", group, quoted(member_id))
        remove_member(group, member, turn)
        members_left(group, turn, f"the session of {quoted(member_id)} ended")


def remove_member(group: Group, member: Member, turn: Turn) -> None:
    """Takes a member out; what follows for the group is `members_left`."""
    gone = UnknownMemberIdError(f"{member.member_id!r} is no member of {group.group_id!r} any more")
    release(group, member, turn, gone)
    turn.timers.cancel((SESSION, group.group_id, member.member_id))
    group.remove(member.member_id)


def members_left(group: Group, turn: Turn, reason: str) -> None:
    if group.state is STABLE or group.state is COMPLETING_REBALANCE:
        prepare_rebalance(group, turn, reason)
    else:
        maybe_complete_join(group, turn)


def release(group: Group, member: Member, turn: Turn, error: KafkaError) -> None:
    """Answers whatever request of the member is parked."""
    turn.answer(group.take_join_ticket(member), error)
    turn.answer(take_sync_ticket(member), error)


def take_sync_ticket(member: Member) -> Ticket | None:
    ticket, member.sync_ticket = member.sync_ticket, None
    return ticket


# Joining


def prepare_rebalance(group: Group, turn: Turn, reason: str) -> None:
    """The members are to join again; with nobody to wait for, the next generation begins at once."""
    logger.info("%s: preparing to rebalance: %s", group, reason)
    if group.state is COMPLETING_REBALANCE:
        refuse_assignments(group, turn, RebalanceInProgressError(reason))
    group.pending_sync.clear()
    turn.timers.cancel((SYNC, group.group_id))
    group.assignment_write = None
    is_initial = group.state is EMPTY
    group.enter(PREPARING_REBALANCE, turn.wall_ms)
    if is_initial:
        delay_ms = turn.config.initial_rebalance_delay_ms
        group.initial_remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        _wait_for_joins(group, turn, delay_ms)
        if delay_ms <= 0:
            join_time_is_up(group, turn)
        return
    _wait_for_joins(group, turn, max(group.rebalance_timeout_ms, 0))
    maybe_complete_join(group, turn)


def _wait_for_joins(group: Group, turn: Turn, delay_ms: int) -> None:
    turn.timers.set((JOIN, group.group_id), turn.monotonic_ms + delay_ms)


def maybe_complete_join(group: Group, turn: Turn) -> None:
    """A group that fills for the first time lets its delay run out."""
    if group.state is PREPARING_REBALANCE and group.initial_remaining_ms is None and group.all_have_joined:
        complete_join(group, turn)


def join_time_is_up(group: Group, turn: Turn) -> None:
    if group.state is not PREPARING_REBALANCE:
        return
    remaining_ms = group.initial_remaining_ms
    if remaining_ms and group.new_member_added:
        group.new_member_added = False
        delay_ms = min(turn.config.initial_rebalance_delay_ms, remaining_ms)
        group.initial_remaining_ms = remaining_ms - delay_ms
        _wait_for_joins(group, turn, delay_ms)
        return
    complete_join(group, turn)


def complete_join(group: Group, turn: Turn) -> None:
    """The time to join is over: the next generation begins with those who came."""
    turn.timers.cancel((JOIN, group.group_id))
    group.initial_remaining_ms = None
    late = [member for member in group.members.values() if member.join_ticket is None and not member.is_static]
    for member in late:
        remove_member(group, member, turn)
    if not group.elect_joined_leader() and group.members:
        # Only static members are left and none has come: their sessions decide.
        logger.warning("%s: nobody has joined, waiting for sessions to end", group)
        _wait_for_joins(group, turn, max(group.rebalance_timeout_ms, SHORTEST_POSTPONEMENT_MS))
        return
    if not group.members:
        group.begin_next_generation(EMPTY, turn.wall_ms)
        logger.info("%s: nobody is left", group)
        turn.write(EmptyGenerationWrite(group, [group.record({})]))
        return
    group.begin_next_generation(COMPLETING_REBALANCE, turn.wall_ms)
    logger.info("%s: all have joined that came", group)
    for member in group.members.values():
        member.is_new = False
        group.pending_sync.add(member.member_id)
        ticket = group.take_join_ticket(member)
        if ticket is not None:
            turn.answer(ticket, join_result(group, member))
        renew_session(group, member, turn)
    turn.timers.set((SYNC, group.group_id), turn.monotonic_ms + max(group.rebalance_timeout_ms, 0))


def join_result(group: Group, member: Member) -> JoinResult:
    """The current generation as `member` sees it: its leader is told who the others are."""
    is_leader = group.leader_id == member.member_id
    return JoinResult(
        generation_id=group.generation_id,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=group.leader_id or "",
        skip_assignment=False,
        member_id=member.member_id,
        members=group.joined_members() if is_leader else (),
    )


# Assignments


def has_synced(group: Group, member: Member, turn: Turn) -> None:
    group.pending_sync.discard(member.member_id)
    if not group.pending_sync:
        turn.timers.cancel((SYNC, group.group_id))


def sync_time_is_up(group: Group, turn: Turn) -> None:
    """Who has not asked for the assignment of this generation is out."""
    if group.state not in (COMPLETING_REBALANCE, STABLE) or not group.pending_sync:
        return
    silent = sorted(group.pending_sync)
    for member_id in silent:
        remove_member(group, group.members[member_id], turn)
    prepare_rebalance(group, turn, f"no sync from {some_of(silent)}")


def assign(group: Group, assignments: dict[str, bytes], turn: Turn) -> None:
    """The leader's assignment is in the log: everybody who waits gets theirs."""
    assert group.state is COMPLETING_REBALANCE
    for member in group.members.values():
        member.assignment = assignments.get(member.member_id, NO_ASSIGNMENT)
    group.enter(STABLE, turn.wall_ms)
    for member in group.members.values():
        ticket = take_sync_ticket(member)
        if ticket is not None:
            turn.answer(ticket, SyncResult(group.protocol_type, group.protocol_name, member.assignment))
            # While it waited its session ran out unheeded.
            renew_session(group, member, turn)
    turn.state.completed_rebalances += 1


def refuse_assignments(group: Group, turn: Turn, error: KafkaError) -> None:
    assert group.state is COMPLETING_REBALANCE
    for member in group.members.values():
        member.assignment = NO_ASSIGNMENT
        ticket = take_sync_ticket(member)
        if ticket is not None:
            turn.answer(ticket, error)
            renew_session(group, member, turn)


class AssignmentWrite(GroupWrite):
    """A generation with its leader's assignment. Counts only while the group waits for just this one."""

    __slots__ = ("assignments",)

    def __init__(self, group: Group, assignments: dict[str, bytes]) -> None:
        super().__init__(group, [group.record(assignments)])
        self.assignments = assignments

    def committed(self, turn: Turn, base_offset: int) -> None:
        if self.group.assignment_write is self:
            self.group.assignment_write = None
            assign(self.group, self.assignments, turn)

    def failed(self, turn: Turn, error: KafkaError) -> None:
        if self.group.assignment_write is self:
            refused = group_append_error(error)
            refuse_assignments(self.group, turn, refused)
            prepare_rebalance(self.group, turn, f"its assignment was not written: {error}")
