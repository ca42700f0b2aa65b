"""kazoo's client without its threads: the calls that kstore makes of it, over a ZooKeeper of the simulation.

As kazoo 2.10 has it: what is asked while there is no connection waits for the next one; a connection that is lost
fails what is under way, tells SUSPENDED, and calls every watcher once; a session that is over tells LOST, and a new one
is begun by itself (client.py, _session_callback; protocol/connection.py). A write that was under way when its
connection was lost was done, or not.
"""

import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from kazoo import exceptions
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import EventType, KazooState, KeeperState, WatchedEvent

from tests.sim.loop import NOBODY, PROCESS, Process
from tests.sim.network import Network
from tests.sim.zookeeper import CHILDREN, DATA, Operation, Session, ZooKeeper

RETRY_S = 0.1
LONGEST_RETRY_S = 1.0


class Result:
    """As kazoo's AsyncResult."""

    __slots__ = ("_links", "exception", "is_done", "value")

    def __init__(self) -> None:
        self.is_done = False
        self.value: Any = None
        self.exception: Exception | None = None
        self._links: list[Callable[[Result], None]] = []

    def rawlink(self, callback: Callable[["Result"], None]) -> None:
        if self.is_done:
            callback(self)
        else:
            self._links.append(callback)

    def settle(self, value: Any, exception: Exception | None = None) -> None:
        if self.is_done:
            return
        self.is_done = True
        self.value, self.exception = value, exception
        links, self._links = self._links, []
        for link in links:
            link(self)


class Request:
    __slots__ = ("is_at_server", "operation", "result", "watcher")

    def __init__(self, operation: Operation, result: Result, watcher: Callable[[Any], None] | None) -> None:
        self.operation = operation
        self.result = result
        self.watcher = watcher
        self.is_at_server = False


class Wiring:
    """What all clients of one simulation share."""

    def __init__(self, zookeeper: ZooKeeper, network: Network, choose: random.Random) -> None:
        self.zookeeper = zookeeper
        self.network = network
        self.choose = choose
        self.clients: dict[Process, SimKazooClient] = {}

    def client_of(self, process: Process | None) -> "SimKazooClient | None":
        return None if process is None else self.clients.get(process)


# Set while a simulation runs.
wiring: Wiring | None = None


class SimKazooClient:
    def __init__(self, hosts: str, timeout: float = 10.0, **_options: Any) -> None:
        assert wiring is not None
        process = PROCESS.get()
        assert process is not None
        self._wiring = wiring
        self._loop = wiring.network.loop
        self._process = process
        wiring.clients[process] = self
        self._zookeeper = wiring.zookeeper
        self._timeout_s = timeout
        self.chroot = hosts[hosts.index("/") :].rstrip("/") if "/" in hosts else ""
        self.state = KeeperState.CLOSED
        self._told = KazooState.LOST
        self._listeners: list[Callable[[str], Any]] = []
        self._session: Session | None = None
        # Requests under way, and those that wait for a connection.
        self._pending: deque[Request] = deque()
        self._queue: deque[Request] = deque()
        self._watchers: dict[tuple[str, str], dict[Callable[[Any], None], None]] = {}
        # Which connection this is: what belongs to an earlier one is lost.
        self._connection = 0
        self._last_sent = self._last_came = 0.0
        self._is_stopped = False

    # --- life ---

    async def begin(self, name: str, *arguments: Any) -> None:
        """`start` and what else kstore has a thread wait for."""
        import asyncio

        if name == "start":
            self.state = KeeperState.CONNECTING
            self._try_to_connect(RETRY_S)
            deadline = self._loop.now + arguments[0]
            while self.state != KeeperState.CONNECTED:
                if self._loop.now >= deadline:
                    self.stop()
                    raise KazooTimeoutError("Connection time-out")
                await asyncio.sleep(0.01)
        elif name == "ensure_path":
            done = self._loop.create_future()
            self.create_async(arguments[0], b"", makepath=True).rawlink(lambda _result: done.set_result(None))
            await done
        elif name == "exists":
            done = self._loop.create_future()
            self.exists_async(arguments[0]).rawlink(lambda _result: done.set_result(None))
            await done
        else:
            raise NotImplementedError(name)

    def start(self, timeout: float) -> None:
        raise AssertionError("a thread waits for this, see `begin`")

    def exists(self, path: str) -> None:
        raise AssertionError("a thread waits for this, see `begin`")

    def ensure_path(self, path: str, acl: object = None) -> None:
        raise AssertionError("a thread waits for this, see `begin`")

    def stop(self) -> None:
        """Says good-bye, if there is somebody to say it to."""
        if self._is_stopped or not self._process.is_alive:
            return
        self._is_stopped = True
        session, self._session = self._session, None
        if session is not None:
            if self.state == KeeperState.CONNECTED and not self._is_cut():
                self._zookeeper.expire(session)
            else:
                self._zookeeper.disconnected(session)
        self._connection += 1
        self.state = KeeperState.CLOSED

    def close(self) -> None:
        pass

    @property
    def client_id(self) -> tuple[int, bytes] | None:
        return None if self._session is None else (self._session.id, b"")

    def add_listener(self, listener: Callable[[str], Any]) -> None:
        self._listeners.append(listener)

    def _tell(self, state: str) -> None:
        if self._told != state:
            self._told = state
            for listener in list(self._listeners):
                listener(state)

    # --- the connection ---

    def _is_cut(self) -> bool:
        network, name = self._wiring.network, self._process.name
        return not self._zookeeper.is_up or network.is_cut(name, ZooKeeper.NAME) or network.is_cut(ZooKeeper.NAME, name)

    def _try_to_connect(self, delay_s: float) -> None:
        if self._is_stopped:
            return
        self.state = KeeperState.CONNECTING
        if self._is_cut():
            wait_s = delay_s * (0.75 + 0.5 * self._wiring.choose.random())
            self._loop.call_later(wait_s, self._try_to_connect, min(delay_s * 2, LONGEST_RETRY_S))
        else:
            self._loop.call_later(0.001 + 0.02 * self._wiring.choose.random(), self._connect)

    def _connect(self) -> None:
        if self._is_stopped or self.state != KeeperState.CONNECTING:
            return
        if self._is_cut():
            self._try_to_connect(RETRY_S)
            return
        session = self._session
        if session is not None and session.is_over:
            self._expired()
            return
        if session is None:
            session = self._session = self._zookeeper.open(self._process.name, self._timeout_s)
        self._connection += 1
        connection = self._connection
        self._zookeeper.connected(session, lambda *what: self._on_the_way(connection, self._watch_fired, *what))
        self.state = KeeperState.CONNECTED
        self._last_sent = self._last_came = self._loop.now
        self._tell(KazooState.CONNECTED)
        queue, self._queue = self._queue, deque()
        for request in queue:
            self._send(request)

    def _expired(self) -> None:
        self._session = None
        self.state = KeeperState.EXPIRED_SESSION
        self._tell(KazooState.LOST)
        self._fail_all(exceptions.SessionExpiredError())
        self._call_watchers(KeeperState.EXPIRED_SESSION)
        self._loop.call_later(RETRY_S, self._try_to_connect, RETRY_S)

    def drop(self, heard_s_ago: float = 0.0) -> None:
        """The connection is lost, and this end knows. ZooKeeper has last heard of it a while ago."""
        if self.state != KeeperState.CONNECTED or self._is_stopped or not self._process.is_alive:
            return
        self._lose_connection(heard_s_ago)
        self.state = KeeperState.CONNECTING
        self._fail_all(exceptions.ConnectionLoss())
        self._tell(KazooState.SUSPENDED)
        self._call_watchers(KeeperState.CONNECTING)
        self._try_to_connect(RETRY_S)

    def _lose_connection(self, heard_s_ago: float = 0.0) -> None:
        """The first of what is under way may have reached ZooKeeper still."""
        session = self._session
        assert session is not None
        sent = [request for request in self._pending if not request.is_at_server]
        reached = self._wiring.choose.randint(0, len(sent)) if sent and self._zookeeper.is_up else 0
        self._connection += 1
        for request in sent[:reached]:
            with contextlib.suppress(exceptions.KazooException):
                self._zookeeper.do(session, request.operation)
        if not session.is_over:
            self._zookeeper.disconnected(session, heard_s_ago)

    def died(self) -> None:
        """The process is gone: its session ends when nothing has been heard of it for long enough."""
        if self._session is not None and self.state == KeeperState.CONNECTED:
            self._lose_connection()
        self._is_stopped = True
        self.state = KeeperState.CLOSED

    def silenced(self, for_s: float) -> None:
        """ZooKeeper does not hear of this client for so long (a pause, a cut). It is told at the end."""
        session = self._session
        if session is None or self.state != KeeperState.CONNECTED:
            return
        connection = self._connection

        def over() -> None:
            # A session that nobody heard of.
            if self._connection == connection and not session.is_over and self._silent_until > self._loop.now:
                self._zookeeper.expire(session)

        self._silent_until = self._loop.now + for_s
        self._wiring.network.loop.call_later(session.timeout_s, over, context=NOBODY)

    _silent_until = 0.0

    def heard_again(self) -> None:
        self._silent_until = 0.0
        session = self._session
        if session is not None and session.is_over and self.state == KeeperState.CONNECTED:
            self._loop.call_later(0.01, self.drop, context=self._process.context)

    def _fail_all(self, error: Exception) -> None:
        waiting = [*self._pending, *self._queue]
        self._pending.clear()
        self._queue.clear()
        for request in waiting:
            request.result.settle(None, error)

    # --- watches ---

    def _call_watchers(self, state: str) -> None:
        watchers, self._watchers = self._watchers, {}
        event = WatchedEvent(EventType.NONE, state, None)
        for waiting in watchers.values():
            for watcher in waiting:
                watcher(event)

    def _watch_fired(self, kind: str, path: str, event: str) -> None:
        kinds = (DATA, CHILDREN) if event == EventType.DELETED else (kind,)
        for each in kinds:
            for watcher in self._watchers.pop((each, path), ()):
                watcher(WatchedEvent(event, KeeperState.CONNECTED, path))

    # --- requests ---

    def _on_the_way(self, connection: int, take: Callable[..., None], *what: Any) -> None:
        """From ZooKeeper to this client, in order."""
        delay = self._wiring.network.delay(ZooKeeper.NAME, self._process.name)
        self._last_came = max(self._last_came, self._loop.now + delay)

        def come() -> None:
            if self._connection == connection:
                if self._is_cut():
                    self._loop.call_later(0.2, come)
                    self._last_came = max(self._last_came, self._loop.now + 0.2)
                else:
                    take(*what)

        self._loop.call_at(self._last_came, come, context=self._process.context)

    def _call(self, operation: Operation, watcher: Callable[[Any], None] | None = None) -> Result:
        result = Result()
        if self.state == KeeperState.CLOSED or not self._process.is_alive:
            result.settle(None, exceptions.ConnectionClosedError("Connection has been closed"))
        elif self.state == KeeperState.EXPIRED_SESSION:
            result.settle(None, exceptions.SessionExpiredError())
        else:
            request = Request(operation, result, watcher)
            if self.state == KeeperState.CONNECTED:
                self._send(request)
            else:
                self._queue.append(request)
        return result

    def _send(self, request: Request) -> None:
        self._pending.append(request)
        delay = self._wiring.network.delay(self._process.name, ZooKeeper.NAME)
        self._last_sent = max(self._last_sent, self._loop.now + delay)
        self._loop.call_at(self._last_sent, self._reach, request, self._connection, context=NOBODY)

    def _reach(self, request: Request, connection: int) -> None:
        """A request has come to ZooKeeper."""
        if self._connection != connection:
            return
        if self._is_cut():
            self._last_sent = max(self._last_sent, self._loop.now + 0.2)
            self._loop.call_at(self._last_sent, self._reach, request, connection, context=NOBODY)
            return
        session = self._session
        assert session is not None
        request.is_at_server = True
        value, error = None, None
        try:
            value = self._zookeeper.do(session, request.operation)
        except exceptions.SessionExpiredError:
            # The connection is closed on those whose session is over.
            self._loop.call_soon(self.drop, context=self._process.context)
            return
        except exceptions.KazooException as raised:
            error = raised
        self._on_the_way(connection, self._answered, request, value, error)

    def _answered(self, request: Request, value: Any, error: Exception | None) -> None:
        if not self._pending or self._pending[0] is not request:
            raise AssertionError("answers come in order")
        self._pending.popleft()
        operation = request.operation
        if request.watcher is not None and (error is None or operation.kind == "exists"):
            kind = CHILDREN if operation.kind == "children" else DATA
            self._watchers.setdefault((kind, operation.path), {})[request.watcher] = None
        request.result.settle(value, error)

    def _path(self, path: str) -> str:
        return (self.chroot + path).rstrip("/") or "/"

    def get_async(self, path: str, watch: Callable[[Any], None] | None = None) -> Result:
        return self._call(Operation("get", self._path(path), watched=watch is not None), watch)

    def exists_async(self, path: str, watch: Callable[[Any], None] | None = None) -> Result:
        return self._call(Operation("exists", self._path(path), watched=watch is not None), watch)

    def get_children_async(self, path: str, watch: Callable[[Any], None] | None = None) -> Result:
        return self._call(Operation("children", self._path(path), watched=watch is not None), watch)

    def set_async(self, path: str, value: bytes, version: int = -1) -> Result:
        return self._call(Operation("set", self._path(path), value, version))

    def delete_async(self, path: str, version: int = -1) -> Result:
        return self._call(Operation("delete", self._path(path), version=version))

    def sync_async(self, path: str) -> Result:
        return self._call(Operation("sync", self._path(path)))

    def create_async(
        self,
        path: str,
        value: bytes = b"",
        acl: Any = None,
        ephemeral: bool = False,
        sequence: bool = False,
        makepath: bool = False,
    ) -> Result:
        """With `makepath` what is above comes first, one request after the other."""
        whole = Result()
        operation = Operation("create", self._path(path), value, ephemeral=ephemeral, sequential=sequence)

        def attempt() -> None:
            self._call(operation).rawlink(answered)

        def answered(result: Result) -> None:
            if makepath and isinstance(result.exception, exceptions.NoNodeError):
                parent = path.rpartition("/")[0]
                self.create_async(parent, b"", makepath=True).rawlink(parent_made)
            else:
                value = result.value
                if isinstance(value, str) and self.chroot:
                    value = value.removeprefix(self.chroot)
                whole.settle(value, result.exception)

        def parent_made(result: Result) -> None:
            if result.exception is None or isinstance(result.exception, exceptions.NodeExistsError):
                attempt()
            else:
                whole.settle(None, result.exception)

        attempt()
        return whole

    def transaction(self) -> "Transaction":
        return Transaction(self)


class Transaction:
    def __init__(self, client: SimKazooClient) -> None:
        self._client = client
        self._operations: list[Operation] = []

    def create(
        self, path: str, value: bytes = b"", acl: Any = None, ephemeral: bool = False, sequence: bool = False
    ) -> None:
        path = self._client._path(path)
        self._operations.append(Operation("create", path, value, ephemeral=ephemeral, sequential=sequence))

    def set_data(self, path: str, value: bytes, version: int = -1) -> None:
        self._operations.append(Operation("set", self._client._path(path), value, version))

    def delete(self, path: str, version: int = -1) -> None:
        self._operations.append(Operation("delete", self._client._path(path), version=version))

    def check(self, path: str, version: int) -> None:
        self._operations.append(Operation("check", self._client._path(path), version=version))

    def commit_async(self) -> Result:
        return self._client._call(Operation("multi", "/", operations=tuple(self._operations)))
