"""A network between processes of one machine that can be cut: each connection goes through a relay which knows from
whom it comes and to whom it goes.

    with Network(pids=lambda: {"1": 4711, "2": 4712}) as network:
        port = network.door("2", 9092)            # who connects there comes to 2
        network.cut("1", "2")                     # nothing passes between them, either way; nothing is refused
        network.cut_one_way("1", "2")             # what 1 says does not reach 2
        network.reset("1", "2")                   # connections are torn, and new ones refused
        network.slow("1", "2", 0.1)               # each way takes so long
        network.heal()

What does not pass waits, and passes when the network is healed: so do requests of long ago, as in a network that loses
packets. Who comes through a door is found out by whose socket it is (/proc), so that one address serves everybody.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import uvloop

from tests.judge.java import free_port

CHUNK = 256 * 1024
HOST = "127.0.0.1"


class Way:
    """What one says to another. Touched on the loop's thread only."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.refuses = False
        self.is_open = asyncio.Event()
        self.is_open.set()


class Carried(NamedTuple):
    """A connection that is under way."""

    source: str
    target: str
    writers: tuple[asyncio.StreamWriter, ...]


class Network:
    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        """`pids` names the processes whose connections are told apart."""
        self._pids = pids
        self._ways: dict[tuple[str, str], Way] = {}
        self._carried: list[Carried] = []
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()

    # --- what tests ask of it ---

    def door(self, target: str, port: int, *, source: str | None = None) -> int:
        """A port by which `target`, who listens on `port`, is reached. `source`: who comes, where it is not to be
        found out."""

        async def open_door(entry: int) -> None:
            async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                with contextlib.suppress(OSError):
                    await self._accepted(reader, writer, entry, target, port, source)

            self._servers.append(await asyncio.start_server(accepted, HOST, entry, limit=CHUNK))

        for _ in range(20):
            entry = free_port()
            with contextlib.suppress(OSError):  # somebody was quicker
                asyncio.run_coroutine_threadsafe(open_door(entry), self._loop).result(10)
                return entry
        raise AssertionError("no port for a door")

    def cut(self, one: str, other: str) -> None:
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def cut_one_way(self, source: str, target: str) -> None:
        self._do(lambda: self._way(source, target).is_open.clear())

    def reset(self, one: str, other: str) -> None:
        def tear() -> None:
            for each in ((one, other), (other, one)):
                self._way(*each).refuses = True
            for carried in list(self._carried):
                if {carried.source, carried.target} == {one, other}:
                    abort(carried.writers)

        self._do(tear)

    def slow(self, one: str, other: str, delay_s: float) -> None:
        def change() -> None:
            self._way(one, other).delay_s = self._way(other, one).delay_s = delay_s

        self._do(change)

    def heal(self, one: str | None = None, other: str | None = None) -> None:
        """Between two, or everywhere."""

        def mend() -> None:
            for (source, target), way in self._ways.items():
                if one is None or {source, target} == {one, other}:
                    way.refuses, way.delay_s = False, 0.0
                    way.is_open.set()

        self._do(mend)

    def connections(self, source: str, target: str) -> int:
        """How many there are now from one to the other."""
        found: list[int] = []
        self._do(lambda: found.append(sum((each.source, each.target) == (source, target) for each in self._carried)))
        return found[0]

    def close(self) -> None:
        if self._loop.is_closed():
            return

        async def end() -> None:
            for server in self._servers:
                server.close()
            for carried in self._carried:
                abort(carried.writers)
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- how it works ---

    def _do(self, change: Callable[[], object]) -> None:
        """On the loop's thread; returns when it is done."""

        async def run() -> None:
            change()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def _way(self, source: str, target: str) -> Way:
        return self._ways.setdefault((source, target), Way())

    async def _accepted(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        entry: int,
        target: str,
        port: int,
        source: str | None,
    ) -> None:
        peer_port = writer.get_extra_info("peername")[1]
        source = source or owner_of(peer_port, entry, self._pids())
        if source is None:  # gone already
            abort([writer])
            return
        there, back = self._way(source, target), self._way(target, source)
        try:
            await there.is_open.wait()
            if there.refuses:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(HOST, port, limit=CHUNK)
        except OSError:
            abort([writer])
            return
        except asyncio.CancelledError:
            abort([writer])
            raise
        carried = Carried(source, target, (writer, far_writer))
        self._carried.append(carried)
        try:
            await asyncio.gather(pump(reader, far_writer, there), pump(far_reader, writer, back))
        finally:
            abort(carried.writers)
            self._carried.remove(carried)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
    """Until one side has gone. That a side has gone is news too, and does not pass a way that is closed."""
    try:
        while data := await reader.read(CHUNK):
            if way.delay_s:
                await asyncio.sleep(way.delay_s)
            await way.is_open.wait()
            if writer.transport.is_closing():  # torn meanwhile
                return
            writer.write(data)
            await writer.drain()
        await way.is_open.wait()
    except OSError:
        await way.is_open.wait()
    with contextlib.suppress(OSError):
        writer.close()


def abort(writers: "tuple[asyncio.StreamWriter, ...] | list[asyncio.StreamWriter]") -> None:
    for writer in writers:
        writer.transport.abort()


# --- whose a connection is ---


def owner_of(local_port: int, remote_port: int, pids: Mapping[str, int]) -> str | None:
    """Which of the processes has the connection from one port of this machine to another."""
    inode = socket_inode(local_port, remote_port)
    if inode is None:
        return None
    name_of_socket = f"socket:[{inode}]"
    return next((name for name, pid in pids.items() if name_of_socket in open_files(pid)), None)


def socket_inode(local_port: int, remote_port: int) -> str | None:
    local, remote = f":{local_port:04X}", f":{remote_port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):  # Java's are in the second
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(local) and fields[2].endswith(remote) and fields[9] != "0":
                    return fields[9]
    return None


def open_files(pid: int) -> Iterator[str]:
    """What the descriptors of a process stand for; nothing of one that has gone."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(entry.path)
