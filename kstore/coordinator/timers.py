"""Deadlines as data: what is to happen when, for one shard.

A key has one deadline at most. Moving it later, as every heartbeat does, costs one store in a dict: the heap keeps
the key's old place and the key is moved on when that place comes up. Each key has at most one place that counts,
so the heap does not grow with heartbeats. Places of keys that were cancelled are cleared away when they are the most.
"""

from heapq import heapify, heappop, heappush, heapreplace

Key = tuple[str, ...]

# Below it nothing is cleared away.
SMALL_HEAP = 64


class Timers:
    __slots__ = ("_deadlines", "_heap", "_places")

    def __init__(self) -> None:
        self._deadlines: dict[Key, int] = {}
        self._heap: list[tuple[int, Key]] = []
        self._places: dict[Key, int] = {}  # the deadline under which a key stands in the heap

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, key: Key) -> bool:
        return key in self._deadlines

    def set(self, key: Key, deadline_ms: int) -> None:
        """The key's one deadline, be it its first or a new one."""
        self._deadlines[key] = deadline_ms
        place = self._places.get(key)
        if place is None or deadline_ms < place:
            self._places[key] = deadline_ms
            heappush(self._heap, (deadline_ms, key))

    def cancel(self, key: Key) -> None:
        self._deadlines.pop(key, None)
        if len(self._heap) > 2 * len(self._deadlines) + SMALL_HEAP:
            self._places = dict(self._deadlines)
            self._heap = [(deadline, key) for key, deadline in self._deadlines.items()]
            heapify(self._heap)

    @property
    def next_deadline_ms(self) -> int | None:
        heap = self._heap
        while heap:
            place, key = heap[0]
            if self._places.get(key) != place:
                heappop(heap)  # the key has an earlier place, or had it
                continue
            deadline = self._deadlines.get(key)
            if deadline == place:
                return place
            if deadline is None:
                heappop(heap)
                del self._places[key]
            else:
                self._places[key] = deadline
                heapreplace(heap, (deadline, key))
        return None

    def pop_due(self, monotonic_ms: int) -> Key | None:
        """Takes out the earliest key whose deadline is reached. One at a time: what it leads to may move others."""
        deadline = self.next_deadline_ms
        if deadline is None or deadline > monotonic_ms:
            return None
        _, key = heappop(self._heap)
        del self._places[key], self._deadlines[key]
        return key
