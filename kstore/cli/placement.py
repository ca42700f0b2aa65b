"""Where replicas should be: as even as it gets over some brokers, with as little moved as that takes. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence

Key = tuple[str, int]
Placement = dict[Key, list[int]]


def spread(
    current: Mapping[Key, Sequence[int]],
    brokers: Sequence[int],
    racks: Mapping[int, str | None],
    *,
    copies: int | None = None,
) -> Placement:
    """New replicas for each partition, all on `brokers`: as many as now, or `copies`.

    What is on one of the brokers stays there, unless another one has two replicas less. Replicas of a partition are on
    as many racks as there are. The first of a partition's replicas is preferred as its leader: that is evened out last,
    by order alone. Raises ValueError where a partition wants more replicas than there are brokers.
    """
    placement: Placement = {}
    load: Counter[int] = Counter(dict.fromkeys(brokers, 0))
    for key, replicas in sorted(current.items()):
        wanted = len(replicas) if copies is None else copies
        if wanted > len(brokers):
            raise ValueError(f"{key[0]}-{key[1]}: {wanted} replicas do not fit on {len(brokers)} brokers")
        placement[key] = [replica for replica in replicas if replica in load][:wanted]
        load.update(placement[key])
    for key, replicas in placement.items():
        wanted = len(current[key]) if copies is None else copies
        while len(replicas) < wanted:
            used = Counter(racks.get(replica) for replica in replicas)
            free = [broker for broker in brokers if broker not in replicas]
            chosen = min(free, key=lambda broker: (used[racks.get(broker)], load[broker]))
            replicas.append(chosen)
            load[chosen] += 1
    _even_out(placement, load, racks)
    _even_out_leaders(placement)
    return placement


def _even_out(placement: Placement, load: Counter[int], racks: Mapping[int, str | None]) -> None:
    while True:
        move = _next_move(placement, load, racks)
        if move is None:
            return
        key, source, target = move
        replicas = placement[key]
        replicas[replicas.index(source)] = target
        load[source] -= 1
        load[target] += 1


def _next_move(
    placement: Placement, load: Counter[int], racks: Mapping[int, str | None]
) -> tuple[Key, int, int] | None:
    """From the fullest broker to the emptiest, where that makes them more alike and spoils no rack's diversity."""
    by_load = sorted(load, key=lambda broker: (load[broker], broker))
    for source in reversed(by_load):
        for target in by_load:
            if load[source] - load[target] < 2:
                break
            for key, replicas in placement.items():
                if source not in replicas or target in replicas:
                    continue
                after = [target if replica == source else replica for replica in replicas]
                if len({racks.get(one) for one in after}) >= len({racks.get(one) for one in replicas}):
                    return key, source, target
    return None


def _even_out_leaders(placement: Placement) -> None:
    """Swaps the first replica with another of the partition while that makes two brokers' shares more alike."""
    firsts: Counter[int] = Counter(replicas[0] for replicas in placement.values() if replicas)
    changed = True
    while changed:
        changed = False
        for replicas in placement.values():
            if not replicas:
                continue
            least = min(replicas, key=lambda replica: firsts[replica])
            if firsts[replicas[0]] - firsts[least] >= 2:
                firsts[replicas[0]] -= 1
                firsts[least] += 1
                place = replicas.index(least)
                replicas[0], replicas[place] = replicas[place], replicas[0]
                changed = True
