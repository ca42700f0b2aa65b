"""On which brokers the replicas of new partitions go: evenly, and in as many racks as there are replicas (KIP-36).

First replicas go round the brokers; the others follow at a distance that grows with every round, so that what one
broker leads is followed by all the others in turn. Racks count where every broker has one. Kafka: AdminUtils.java.
"""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import NamedTuple

from kstore.errors import InvalidReplicationFactorError


class Rotation(NamedTuple):
    """Where the first partition begins, and at what distance its second replica is; by chance for a new topic."""

    start: int = 0
    shift: int = 0


def assigned(
    partitions: int, factor: int, *, racks: Mapping[int, str | None], rotation: Rotation, first: int = 0
) -> list[tuple[int, ...]]:
    """The replicas of partitions from `first` on; `racks` has all brokers. Raises InvalidReplicationFactorError."""
    if factor > len(racks):
        raise InvalidReplicationFactorError(f"{factor} replicas need as many brokers, and there are {len(racks)}")
    known = {broker: rack for broker, rack in racks.items() if rack is not None}
    in_racks = len(known) == len(racks)
    brokers = alternated(known) if in_racks else sorted(racks)
    # Without racks each broker is as good as a rack of its own: the same walk takes the next that has no replica.
    rack_of = known if in_racks else {broker: str(broker) for broker in brokers}
    stride = len(set(rack_of.values())) if in_racks else 1
    found, shift = [], rotation.shift
    for index in range(first, first + partitions):
        if index > 0 and index % len(brokers) == 0:
            shift += 1
        walk = _walk(brokers, (index + rotation.start) % len(brokers), shift * stride)
        found.append(_spread(walk, rack_of, factor))
    return found


def start_after(first_replica: int, racks: Mapping[int, str | None]) -> Rotation:
    """The rotation for partitions that are added to a topic whose partition 0 begins with `first_replica`."""
    start = next((place for place, broker in enumerate(sorted(racks)) if broker >= first_replica), 0)
    return Rotation(start, start)


def alternated(racks: Mapping[int, str]) -> list[int]:
    """The brokers, from another rack each time as long as there is one."""
    by_rack: dict[str, list[int]] = {}
    for broker in sorted(racks):
        by_rack.setdefault(racks[broker], []).append(broker)
    lanes = [by_rack[rack] for rack in sorted(by_rack)]
    return [lane[row] for row in range(max(map(len, lanes))) for lane in lanes if row < len(lane)]


def _walk(brokers: list[int], first: int, shift: int) -> Iterator[int]:
    """The first broker, then the others again and again from a distance of `shift` on."""
    yield brokers[first]
    others = len(brokers) - 1
    for step in count():
        yield brokers[(first + 1 + (shift + step) % others) % len(brokers)]


def _spread(walk: Iterator[int], rack_of: Mapping[int, str], factor: int) -> tuple[int, ...]:
    """The first of the walk that are in new racks; when every rack has one, those that come next."""
    everywhere = len(set(rack_of.values()))
    taken: list[int] = []
    used: set[str] = set()

    def fits(broker: int) -> bool:
        return broker not in taken and (rack_of[broker] not in used or len(used) == everywhere)

    while len(taken) < factor:
        broker = next(candidate for candidate in walk if fits(candidate))
        taken.append(broker)
        used.add(rack_of[broker])
    return tuple(taken)
