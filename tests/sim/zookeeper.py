"""A ZooKeeper ensemble as one object: znodes with versions, ephemeral and sequential ones, multi, one-shot watches, and
sessions that end when nothing is heard of them.

Requests of one session are done in the order in which they were sent; answers and watches reach it in one order too, a
watch before any answer that shows what it tells of. Everything else may be late.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kazoo import exceptions
from kazoo.protocol.states import EventType, ZnodeStat

from tests.sim.loop import NOBODY, SimLoop

DATA, CHILDREN = "data", "children"


class Node:
    __slots__ = ("children", "created", "data", "modified", "next_number", "owner", "version")

    def __init__(self, data: bytes, zxid: int, owner: int) -> None:
        self.data = data
        self.version = 0
        self.created = self.modified = zxid
        self.owner = owner
        self.children: dict[str, None] = {}
        self.next_number = 0

    def stat(self) -> ZnodeStat:
        return ZnodeStat(
            self.created, self.modified, 0, 0, self.version, 0, 0, self.owner, len(self.data), len(self.children), 0
        )


class Operation(NamedTuple):
    kind: str  # get, exists, children, create, set, delete, check, multi, sync
    path: str
    data: bytes = b""
    version: int = -1
    ephemeral: bool = False
    sequential: bool = False
    # Wants to be told of the next change.
    watched: bool = False
    operations: tuple["Operation", ...] = ()


class Session:
    """`tell(kind, path)` reaches whoever is connected with it; None while nobody is."""

    __slots__ = ("id", "is_over", "number", "owner", "tell", "timeout_s")

    def __init__(self, session_id: int, owner: str, timeout_s: float) -> None:
        self.id = session_id
        self.owner = owner
        self.timeout_s = timeout_s
        self.is_over = False
        self.tell: Callable[[str, str, str], None] | None = None
        # Of the present connection, or time without one.
        self.number = 0


class ZooKeeper:
    """`written` hears of every change: (path, data or None, session)."""

    NAME = "zk"

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self.nodes: dict[str, Node] = {"/": Node(b"", 0, 0)}
        self.zxid = 0
        self.sessions: dict[int, Session] = {}
        self.is_up = True
        self._watches: dict[tuple[str, str], dict[int, None]] = {}
        self.written: Callable[[str, bytes | None, Session | None], None] = lambda path, data, session: None

    # --- sessions ---

    def open(self, owner: str, timeout_s: float) -> Session:
        self.zxid += 1
        session = Session(0x100000000 + self.zxid, owner, timeout_s)
        self.sessions[session.id] = session
        return session

    def connected(self, session: Session, tell: Callable[[str, str, str], None]) -> None:
        session.number += 1
        session.tell = tell

    def disconnected(self, session: Session, heard_s_ago: float = 0.0) -> None:
        """Nothing is heard of the session; it ends unless it is back in time. Its watches were the connection's."""
        self._unwatch(session)
        session.tell = None
        session.number += 1
        number = session.number

        def look() -> None:
            if session.number != number or session.is_over:
                return
            if self.is_up:
                self.expire(session)
            else:
                # Nobody counts while the ensemble is away, and each session begins anew when it is back.
                self._loop.call_later(session.timeout_s, look, context=NOBODY)

        self._loop.call_later(max(session.timeout_s - heard_s_ago, 0.001), look, context=NOBODY)

    def expire(self, session: Session) -> None:
        if session.is_over:
            return
        session.is_over = True
        self._unwatch(session)
        for path in [path for path, node in self.nodes.items() if node.owner == session.id]:
            self.zxid += 1
            self._remove(path, session)

    def _unwatch(self, session: Session) -> None:
        for key in [key for key, watching in self._watches.items() if session.id in watching]:
            del self._watches[key][session.id]
            if not self._watches[key]:
                del self._watches[key]

    # --- operations ---

    def do(self, session: Session, operation: Operation) -> Any:
        """The result; raises kazoo's exceptions."""
        if session.is_over:
            raise exceptions.SessionExpiredError
        match operation.kind:
            case "get":
                node = self._node(operation.path)
                self._watch(session, operation, DATA)
                return node.data, node.stat()
            case "exists":
                self._watch(session, operation, DATA)
                found = self.nodes.get(operation.path)
                return None if found is None else found.stat()
            case "children":
                children = list(self._node(operation.path).children)
                self._watch(session, operation, CHILDREN)
                return children
            case "sync":
                return operation.path
            case "multi":
                return self._multi(session, operation.operations)
        self._check(operation)
        self.zxid += 1
        return self._apply(session, operation)

    def _multi(self, session: Session, operations: tuple[Operation, ...]) -> list[Any]:
        """All or none. The later ones see what the first ones did, so it is done and, if need be, undone."""
        self.zxid += 1
        touched = dict.fromkeys(each.path for each in operations)
        touched.update(dict.fromkeys(_parent(path) for path in list(touched)))
        before = {path: _copy(self.nodes[path]) if path in self.nodes else None for path in touched}
        news: list[tuple[Any, ...]] = []
        results: list[Any] = []
        for number, operation in enumerate(operations):
            try:
                self._check(operation)
            except exceptions.ZookeeperError as error:
                for path, node in before.items():
                    if node is not None:
                        self.nodes[path] = node
                    else:
                        self.nodes.pop(path, None)
                behind = len(operations) - number - 1
                rest = [exceptions.RuntimeInconsistency() for _ in range(behind)]
                return [*(exceptions.RolledBackError() for _ in range(number)), error, *rest]
            results.append(self._apply(session, operation, news))
        for each in news:
            self._tell(*each)
        return results

    def _check(self, operation: Operation) -> None:
        path = operation.path
        if operation.kind == "create":
            if path in self.nodes and not operation.sequential:
                raise exceptions.NodeExistsError
            parent = self.nodes.get(_parent(path))
            if parent is None:
                raise exceptions.NoNodeError
            if parent.owner:
                raise exceptions.NoChildrenForEphemeralsError
            return
        node = self._node(path)
        if operation.version not in (-1, node.version):
            raise exceptions.BadVersionError
        if operation.kind == "delete" and node.children:
            raise exceptions.NotEmptyError

    def _apply(self, session: Session, operation: Operation, news: list[tuple[Any, ...]] | None = None) -> Any:
        path = operation.path
        tell = self._tell if news is None else lambda *what: news.append(what)
        match operation.kind:
            case "create":
                parent = self.nodes[_parent(path)]
                if operation.sequential:
                    path += f"{parent.next_number:010d}"
                parent.next_number += 1
                owner = session.id if operation.ephemeral else 0
                self.nodes[path] = Node(operation.data, self.zxid, owner)
                parent.children[path.rpartition("/")[2]] = None
                tell(path, operation.data, session, EventType.CREATED)
                return path
            case "set":
                node = self.nodes[path]
                node.data = operation.data
                node.version += 1
                node.modified = self.zxid
                tell(path, operation.data, session, EventType.CHANGED)
                return node.stat()
            case "delete":
                self._remove(path, session, tell)
                return True
            case "check":
                return True
        raise AssertionError(operation)

    def _remove(self, path: str, session: Session, tell: Callable[..., None] | None = None) -> None:
        del self.nodes[path]
        self.nodes[_parent(path)].children.pop(path.rpartition("/")[2], None)
        (tell or self._tell)(path, None, session, EventType.DELETED)

    def _node(self, path: str) -> Node:
        node = self.nodes.get(path)
        if node is None:
            raise exceptions.NoNodeError
        return node

    # --- watches ---

    def _watch(self, session: Session, operation: Operation, kind: str) -> None:
        if operation.watched:
            self._watches.setdefault((kind, operation.path), {})[session.id] = None

    def _tell(self, path: str, data: bytes | None, session: Session | None, event: str) -> None:
        self.written(path, data, session)
        fired = [(DATA, path)]
        if event == EventType.DELETED:
            fired.append((CHILDREN, path))
        for key in fired:
            self._fire(key, event)
        if event in (EventType.CREATED, EventType.DELETED):
            self._fire((CHILDREN, _parent(path)), EventType.CHILD)

    def _fire(self, key: tuple[str, str], event: str) -> None:
        for session_id in self._watches.pop(key, ()):
            tell = self.sessions[session_id].tell
            if tell is not None:
                tell(*key, event)


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _copy(node: Node) -> Node:
    copy = Node(node.data, node.created, node.owner)
    copy.version, copy.modified, copy.next_number = node.version, node.modified, node.next_number
    copy.children = dict(node.children)
    return copy
