"""Connections between processes: bytes in order, late, held up by a cut, or gone with the connection.

Each direction of a connection is a pipe. A cut holds its bytes back as TCP would (they are sent again and again); a
connection that is lost takes what is under way with it, and one end, or both, or neither learns of it. Who speaks to
an end that is gone is told so (RST), unless the machine there is off.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Protocol

from tests.sim.loop import NOBODY, Process, SimLoop

SYN_RETRY_S = 1.0


class End(Protocol):
    """One end of a connection, in the process that owns it."""

    def received(self, data: bytes) -> None: ...
    def ended(self, error: Exception | None) -> None: ...


class Accepting(Protocol):
    process: Process

    def accept(self, link: "Link") -> None:
        """Makes the server's end."""


class Pipe:
    """One direction. `None` on the way is the end of the stream, an exception its reset."""

    def __init__(self, link: "Link", side: int) -> None:
        self._link = link
        # The side that reads.
        self._side = side
        self._last = 0.0
        self._held: list[bytes | Exception | None] = []

    def send(self, item: bytes | Exception | None) -> None:
        network, link = self._link.network, self._link
        source, target = link.names[1 - self._side], link.names[self._side]
        if self._held or network.is_cut(source, target):
            self._held.append(item)
            return
        self._last = max(self._last, network.loop.now + network.delay(source, target))
        process = link.processes[self._side]
        # What comes for a process that is gone its machine answers.
        context = process.context if process.is_alive else NOBODY
        network.loop.call_at(self._last, self._arrive, item, link.generation, context=context)

    def _arrive(self, item: bytes | Exception | None, generation: int) -> None:
        link = self._link
        if generation != link.generation:
            return
        if self._held or link.network.is_cut(link.names[1 - self._side], link.names[self._side]):
            self._held.append(item)
            return
        end = link.ends[self._side]
        if end is None:
            if isinstance(item, bytes):
                link.refuse(1 - self._side)
        elif isinstance(item, bytes):
            end.received(item)
        else:
            link.ends[self._side] = None
            end.ended(item)

    def look_again(self) -> None:
        """After a cut has ended."""
        held, self._held = self._held, []
        for item in held:
            self.send(item)

    def forget(self) -> None:
        self._held.clear()


class Link:
    """A connection; side 0 asked for it."""

    __slots__ = ("ends", "generation", "names", "network", "pipes", "processes")

    def __init__(self, network: "Network", client: Process, server: Process) -> None:
        self.network = network
        self.processes = (client, server)
        self.names = (client.name, server.name)
        self.ends: list[End | None] = [None, None]
        # What was sent in an earlier one is lost.
        self.generation = 0
        self.pipes = (Pipe(self, 0), Pipe(self, 1))

    def send(self, side: int, item: bytes | Exception | None) -> None:
        """From `side` to the other."""
        self.pipes[1 - side].send(item)

    def close(self, side: int, item: Exception | None) -> None:
        """`side` has closed its end."""
        self.ends[side] = None
        self.send(side, item)
        self.network.forget_if_over(self)

    def refuse(self, side: int) -> None:
        """The other side is gone: `side` is told, if there is a machine that can."""
        other = self.names[1 - side]
        if self.network.is_off(other):
            return
        self.pipes[side].send(ConnectionResetError("reset by peer"))

    def lose(self, notices: tuple[bool, bool]) -> None:
        """The connection is lost with all that is under way; each side notices, or not."""
        self.generation += 1
        for side in (0, 1):
            self.pipes[side].forget()
            end = self.ends[side]
            if end is not None and notices[side]:
                self.ends[side] = None
                process = self.processes[side]
                self.network.loop.call_soon(end.ended, ConnectionResetError("lost"), context=process.context)
        self.network.forget_if_over(self)


class ClientTransport:
    """The asking end: what asyncio's protocols expect of a transport."""

    def __init__(self, loop: SimLoop, link: Link, protocol: Any) -> None:
        self._loop = loop
        self._link = link
        self._protocol = protocol
        self._is_open = True

    def write(self, data: Any) -> None:
        if self._is_open:
            self._link.send(0, bytes(data))

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(ConnectionResetError("aborted by peer"))

    def _end(self, item: Exception | None) -> None:
        if self._is_open and self._link.processes[0].is_alive:
            self._is_open = False
            self._link.close(0, item)
            self._loop.call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return not self._is_open

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        raise NotImplementedError("nobody muted an answer so far")

    def received(self, data: bytes) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.BufferedProtocol):
            view = memoryview(data)
            while view:
                buffer = memoryview(protocol.get_buffer(len(view)))
                size = min(len(buffer), len(view))
                buffer[:size] = view[:size]
                view = view[size:]
                protocol.buffer_updated(size)
        else:
            protocol.data_received(data)

    def ended(self, error: Exception | None) -> None:
        if self._is_open:
            self._is_open = False
            self._link.close(0, None)
            self._protocol.connection_lost(error)


class Network:
    def __init__(self, loop: SimLoop, choose: random.Random) -> None:
        self.loop = loop
        self._choose = choose
        self._listening: dict[tuple[str, int], Accepting] = {}
        self._links: dict[Link, None] = {}
        # (from, to) -> how many cuts are in force.
        self._cuts: dict[tuple[str, str], int] = {}
        # Name -> extra seconds for all that comes from there.
        self.slow: dict[str, float] = {}
        # Machines without power.
        self._off: set[str] = set()
        loop.connect = self.connect

    # --- what it does to bytes ---

    def delay(self, source: str, target: str) -> float:
        chance = self._choose.random()
        extra = self.slow.get(source, 0.0)
        # Mostly half a millisecond, rarely some tens: a lost packet that was sent again.
        base = 0.0002 + 0.0006 * chance if chance < 0.97 else 0.04 * self._choose.random()
        return base + extra * (0.5 + self._choose.random()) if extra else base

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts

    def is_off(self, name: str) -> bool:
        return name in self._off

    def cut(self, source: str, target: str) -> None:
        self._cuts[source, target] = self._cuts.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        count = self._cuts.get((source, target), 0) - 1
        if count > 0:
            self._cuts[source, target] = count
            return
        self._cuts.pop((source, target), None)
        for link in list(self._links):
            for side in (0, 1):
                if (link.names[1 - side], link.names[side]) == (source, target):
                    link.pipes[side].look_again()

    def links_between(self, one: str, other: str | None = None) -> list[Link]:
        return [link for link in self._links if one in link.names and (other is None or other in link.names)]

    def forget_if_over(self, link: Link) -> None:
        if link.ends == [None, None]:
            self._links.pop(link, None)

    # --- processes ---

    def listen(self, address: tuple[str, int], accepting: Accepting) -> None:
        self._listening[address] = accepting

    def unlisten(self, address: tuple[str, int]) -> None:
        self._listening.pop(address, None)

    def ended(self, process: Process, *, power_lost: bool = False) -> None:
        """A process is gone. Its kernel closes what it had open, unless that is gone too."""
        for address, accepting in list(self._listening.items()):
            if accepting.process is process:
                del self._listening[address]
        if power_lost:
            self._off.add(process.name)
        for link in list(self._links):
            for side in (0, 1):
                if link.processes[side] is process:
                    link.ends[side] = None
                    if not power_lost and link.ends[1 - side] is not None:
                        link.send(side, ConnectionResetError("the process is gone"))
            self.forget_if_over(link)

    def started(self, name: str) -> None:
        self._off.discard(name)

    async def connect(
        self, client: Process, protocol_factory: Callable[[], Any], host: str, port: int
    ) -> tuple[Any, Any]:
        loop = self.loop
        made: asyncio.Future[Any] = loop.create_future()

        def attempt() -> None:
            if made.done() or not client.is_alive:
                return
            accepting = self._listening.get((host, port))
            if self._is_silent(client.name, host):
                loop.call_later(SYN_RETRY_S, attempt)
            elif accepting is None:
                loop.call_later(self.delay(client.name, host), refuse)
            else:
                link = Link(self, client, accepting.process)
                self._links[link] = None
                transport = ClientTransport(loop, link, protocol := protocol_factory())
                link.ends[0] = transport
                first = self.delay(client.name, host)
                loop.call_later(first, accepting.accept, link, context=accepting.process.context)
                # Its first bytes come behind this.
                link.pipes[1]._last = loop.now + first
                loop.call_later(first + self.delay(host, client.name), succeed, transport, protocol)

        def refuse() -> None:
            if not made.done():
                made.set_exception(ConnectionRefusedError(111, f"nobody listens on {host}:{port}"))

        def succeed(transport: ClientTransport, protocol: Any) -> None:
            if made.done():
                transport.abort()
            elif transport.is_closing():
                made.set_exception(ConnectionResetError(104, f"{host}:{port} reset the connection"))
            else:
                protocol.connection_made(transport)
                made.set_result((transport, protocol))

        attempt()
        return await made

    def _is_silent(self, one: str, other: str) -> bool:
        return self.is_cut(one, other) or self.is_cut(other, one) or self.is_off(other)
