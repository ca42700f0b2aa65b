"""One session with ZooKeeper, for a program with an event loop. The only place where kazoo's threads meet the loop.

Every call is a coroutine; every piece of news (a watch that fired, the state of the session) is called on the loop. An
answer that never came, because the connection or the session is gone, raises SessionLostError: the change may have been
made or not, and kazoo's own retries are not used, for they hide which (rule 44).
"""

import asyncio
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kazoo import exceptions
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE

from kstore.cluster.zk.reach import why_not
from kstore.cluster.zk.security import NOTHING, Security, is_everybodys, is_secret
from kstore.errors import ConfigError, SessionLostError

log = logging.getLogger(__name__)

CONNECTED, SUSPENDED, LOST = "connected", "suspended", "lost"
_STATES = {KazooState.CONNECTED: CONNECTED, KazooState.SUSPENDED: SUSPENDED, KazooState.LOST: LOST}

GONE = (
    exceptions.ConnectionLoss,
    exceptions.SessionExpiredError,
    exceptions.ConnectionClosedError,
    exceptions.OperationTimeoutError,
    exceptions.AuthFailedError,
    exceptions.SessionMovedError,
)


class Znode(NamedTuple):
    data: bytes
    version: int
    created: int  # czxid
    owner: int  # session id of an ephemeral one, else 0
    created_ms: int = 0
    modified: int = 0  # mzxid


class Create(NamedTuple):
    path: str
    data: bytes
    ephemeral: bool = False
    sequential: bool = False


class SetData(NamedTuple):
    path: str
    data: bytes
    version: int


class Delete(NamedTuple):
    path: str
    version: int = -1


class Check(NamedTuple):
    path: str
    version: int


Operation = Create | SetData | Delete | Check


class OperationFailed(NamedTuple):
    """Why a multi-operation was not done: the first that failed, by its number."""

    number: int
    reason: str  # bad_version, no_node, exists


_REASONS = {
    exceptions.BadVersionError: "bad_version",
    exceptions.NoNodeError: "no_node",
    exceptions.NodeExistsError: "exists",
    exceptions.NotEmptyError: "not_empty",
}


class Session:
    """`changed(state)` and the watchers are called on the loop, never while a coroutine of this class runs."""

    def __init__(
        self,
        connect: str,
        *,
        loop: asyncio.AbstractEventLoop,
        timeout_ms: int,
        connection_timeout_ms: int,
        changed: Callable[[str], None],
        security: Security = NOTHING,
    ) -> None:
        """Raises ConfigError where a login is wanted and the library for it is not there."""
        self._connect = connect
        self._security = security
        self._loop = loop
        self._connection_timeout_ms = connection_timeout_ms
        self._changed = changed
        self._client = KazooClient(
            hosts=connect,
            timeout=timeout_ms / 1000,
            # Its own delay doubles up to a minute: a session would be over long before it tried again.
            connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": 1.0},
            logger=logging.getLogger("kazoo"),
            **_identity(security),
        )
        # As long as it is not sure that the chroot is there, kazoo must not look for it.
        self._chroot, self._client.chroot = self._client.chroot, ""
        self._closing = False
        # For who watches this broker (SessionExpireListener in ZooKeeperClient.scala).
        self.state = LOST
        self.connects = self.disconnects = self.expirations = 0
        self._asked: set[asyncio.Future[Any]] = set()

    async def start(self, *, makes_chroot: bool = True) -> None:
        """Raises ConfigError when nobody answers in time."""
        logging.getLogger("kazoo").setLevel(logging.WARNING)
        self._client.add_listener(self._state_changed)
        try:
            await self._loop.run_in_executor(None, self._client.start, self._connection_timeout_ms / 1000)
            # A login that is refused is told with the first answer only.
            await self._loop.run_in_executor(None, self._client.exists, "/")
            if self._chroot and makes_chroot:
                await self._loop.run_in_executor(None, self._client.ensure_path, self._chroot, self._acl("/"))
            self._client.chroot = self._chroot
        except (KazooTimeoutError, *GONE) as error:
            why = await self._loop.run_in_executor(None, why_not, self._connect, self._security.tls)
            if isinstance(error, exceptions.AuthFailedError):
                why = f"the login in KAFKA_OPTS is refused; {why}"
            raise ConfigError(
                f"zookeeper.connect: {self._connect} gave no answer within {self._connection_timeout_ms} ms: {why}"
            ) from None

    def _acl(self, path: str) -> list[Any]:
        """Who may touch a znode that this broker makes."""
        if not self._security.set_acl or is_everybodys(path):
            return list(OPEN_ACL_UNSAFE)
        return list(CREATOR_ALL_ACL if is_secret(path) else [*CREATOR_ALL_ACL, *READ_ACL_UNSAFE])

    async def close(self) -> None:
        """Ends the session: what is ephemeral goes at once."""
        self._closing = True
        await self._loop.run_in_executor(None, self._end)
        # kazoo's threads have ended: nobody else would say so.
        for future in list(self._asked):
            if not future.done():
                future.set_exception(SessionLostError("the session was closed"))

    def give_up(self) -> None:
        """As `close`, for a start that failed."""
        self._closing = True
        self._end()

    def _end(self) -> None:
        self._client.stop()
        self._client.close()

    @property
    def id(self) -> int:
        """What an ephemeral znode of this session names as its owner."""
        client_id = self._client.client_id
        return 0 if client_id is None else int(client_id[0])

    # --- news, from kazoo's threads to the loop ---

    def _state_changed(self, state: str) -> None:
        if not self._closing:
            self._loop.call_soon_threadsafe(self._has_changed, _STATES[state])

    def _has_changed(self, state: str) -> None:
        self.state = state
        self.connects += state == CONNECTED
        self.disconnects += state == SUSPENDED
        self.expirations += state == LOST
        self._changed(state)

    @property
    def is_connected(self) -> bool:
        return self.state == CONNECTED

    def _on_loop(self, watcher: Callable[[], None] | None) -> Callable[[Any], None] | None:
        if watcher is None:
            return None

        def fired(_event: Any) -> None:
            if not self._closing:
                self._loop.call_soon_threadsafe(watcher)

        return fired

    async def _result(self, begin: Callable[..., Any], *arguments: Any) -> Any:
        """What a call of kazoo's gives; its own exceptions as they are, but for those of a session that is gone."""
        if self._closing:
            raise SessionLostError("the session was closed")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)

        def settle(result: Any) -> None:
            if future.done():
                return
            if result.exception is None:
                future.set_result(result.value)
            else:
                future.set_exception(result.exception)

        try:
            begin(*arguments).rawlink(lambda result: self._loop.call_soon_threadsafe(settle, result))
            return await future
        except GONE as error:
            raise SessionLostError(f"ZooKeeper gave no answer: {error!r}") from None

    # --- calls ---

    async def get(self, path: str, *, watcher: Callable[[], None] | None = None) -> Znode | None:
        """None where there is no such znode; `watcher` is called once, when it changes or goes."""
        try:
            data, stat = await self._result(self._client.get_async, path, self._on_loop(watcher))
        except exceptions.NoNodeError:
            return None
        return Znode(data, stat.version, stat.czxid, stat.ephemeralOwner, stat.ctime, stat.mzxid)

    async def exists(self, path: str, *, watcher: Callable[[], None] | None = None) -> bool:
        """`watcher` is called once, when the znode comes, changes or goes."""
        return await self._result(self._client.exists_async, path, self._on_loop(watcher)) is not None

    async def children(self, path: str, *, watcher: Callable[[], None] | None = None) -> list[str]:
        try:
            found: list[str] = await self._result(self._client.get_children_async, path, self._on_loop(watcher))
        except exceptions.NoNodeError:
            return []
        return found

    async def get_all(
        self, paths: Sequence[str], *, watcher: Callable[[str], None] | None = None
    ) -> list[Znode | None]:
        """Many at once: the requests are on their way together. `watcher` is called with the path that changed."""

        def watch(path: str) -> Callable[[], None] | None:
            return None if watcher is None else lambda: watcher(path)

        return list(await asyncio.gather(*(self.get(path, watcher=watch(path)) for path in paths)))

    async def create(self, path: str, data: bytes = b"", *, sequential: bool = False) -> bool:
        """Makes the znode and those above it; False if it was there already."""

        def begin() -> Any:
            return self._client.create_async(path, data, acl=self._acl(path), makepath=True, sequence=sequential)

        try:
            await self._result(begin)
        except exceptions.NodeExistsError:
            return False
        return True

    async def set(self, path: str, data: bytes, version: int) -> int | None:
        """The new version, or None if the znode has another one, or is not there."""
        try:
            stat = await self._result(self._client.set_async, path, data, version)
        except (exceptions.BadVersionError, exceptions.NoNodeError):
            return None
        return int(stat.version)

    async def multi(self, operations: Sequence[Operation]) -> list[Any] | OperationFailed:
        """All or none. Gives what each operation gives: of SetData its version and czxid, of Create its path."""
        transaction = self._client.transaction()
        for operation in operations:
            match operation:
                case Create(path, data, ephemeral, sequential):
                    transaction.create(path, data, acl=self._acl(path), ephemeral=ephemeral, sequence=sequential)
                case SetData(path, data, version):
                    transaction.set_data(path, data, version)
                case Delete(path, version):
                    transaction.delete(path, version)
                case Check(path, version):
                    transaction.check(path, version)
        results = await self._result(transaction.commit_async)
        for index, result in enumerate(results):
            reason = _REASONS.get(type(result))
            if reason is not None:
                return OperationFailed(index, reason)
        for result in results:
            if isinstance(result, GONE):
                raise SessionLostError(f"ZooKeeper gave no answer: {result!r}")
            if isinstance(result, Exception):
                raise SessionLostError(f"ZooKeeper refused: {result!r}")
        return list(results)


def _identity(security: Security) -> dict[str, Any]:
    """What kazoo is told of it. Raises ConfigError."""
    options: dict[str, Any] = {}
    tls, login = security.tls, security.login
    if tls is not None:
        options |= {"use_ssl": True, "ca": tls.truststore, "check_hostname": tls.check_hostname}
        if tls.keystore is not None:
            options |= {"certfile": tls.keystore, "keyfile": tls.keystore, "keyfile_password": tls.password}
    if login is not None:
        if importlib.util.find_spec("puresasl") is None:
            raise ConfigError("a login with ZooKeeper needs pure-sasl: pip install 'kstore[sasl]'")
        options["sasl_options"] = {"mechanism": "DIGEST-MD5", "username": login.username, "password": login.password}
    return options
