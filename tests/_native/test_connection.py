"""The socket's hot path, over a socket pair and an event loop that the test turns by hand."""

import asyncio
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kstore._native.connection import PENDING, Connection, MemoryBudget
from kstore.protocol import api_keys  # noqa: F401 - tells the header decoder which requests are flexible


class Client:
    """One end of a socket pair; a Connection with a recording dispatcher has the other."""

    def __init__(self, *, dispatch=None, max_frame=1 << 20, limit=1 << 24, budget=None, readers=None):
        self.loop = asyncio.new_event_loop()
        self.requests = []
        self.closed = []
        self.turns = 0
        self.sock, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.sock.setblocking(False)
        self.connection = Connection(
            sock=theirs,
            peer=("test", 1),
            listener_name="PLAINTEXT",
            loop=self.loop,
            dispatch=dispatch or self.echo,
            turn_ended=self.end_turn,
            on_close=lambda connection, reason: self.closed.append(reason),
            budget=budget or MemoryBudget(limit),
            max_frame=max_frame,
            readers=readers,
        )
        self.connection.open()

    def end_turn(self):
        self.turns += 1

    def echo(self, request):
        body = bytes(memoryview(request.buffer)[request.position : request.limit])
        self.requests.append((request.api_key, request.api_version, request.correlation_id, request.client_id, body))
        return answer(request.correlation_id, body)

    def turn(self, times=1):
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def send(self, data):
        """Sends all of `data`, turning the loop while the socket is full. Returns what was received meanwhile."""
        received = b""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                received += self.receive()
        return received

    def receive(self):
        """Everything that the connection sends until it has nothing more to say."""
        received = b""
        quiet = 0
        while quiet < 3:
            self.turn()
            try:
                chunk = self.sock.recv(1 << 20)
            except BlockingIOError:
                quiet += 1
                continue
            if not chunk:
                break
            received += chunk
            quiet = 0
        return received

    def close(self):
        self.connection.close()
        self.sock.close()
        self.loop.close()


@pytest.fixture
def connect():
    clients = []

    def make(**options):
        clients.append(Client(**options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def frame(correlation_id, body=b"", *, api_key=0, version=0, client_id=b"me", tags=b""):
    name = struct.pack(">h", -1) if client_id is None else struct.pack(">h", len(client_id)) + client_id
    payload = struct.pack(">hhi", api_key, version, correlation_id) + name + tags + body
    return struct.pack(">i", len(payload)) + payload


def answer(correlation_id, body=b""):
    return struct.pack(">ii", 4 + len(body), correlation_id) + body


class Parked:
    """A dispatcher whose requests wait until the test answers them."""

    def __init__(self, waits=lambda request: True):
        self.waits = waits
        self.waiting = []

    def __call__(self, request):
        if not self.waits(request):
            return answer(request.correlation_id)
        self.waiting.append(request)
        return PENDING


def test_a_frame_is_answered(connect):
    client = connect()
    client.send(frame(7, b"hello", api_key=3, version=2))
    assert client.receive() == answer(7, b"hello")
    assert client.requests == [(3, 2, 7, "me", b"hello")]


def test_a_client_without_a_name_is_served(connect):
    client = connect()
    client.send(frame(1, client_id=None))
    client.receive()
    assert client.requests[0][3] is None


def test_all_whole_frames_of_one_read_are_one_turn(connect):
    client = connect()
    client.send(b"".join(frame(number, b"x" * number) for number in range(20)) + frame(99)[:5])
    assert client.receive() == b"".join(answer(number, b"x" * number) for number in range(20))
    assert client.turns == 1


def test_a_byte_at_a_time_is_a_frame_in_the_end(connect):
    client = connect()
    for byte in frame(5, b"slow"):
        client.send(bytes([byte]))
        client.turn()
    assert client.receive() == answer(5, b"slow")


def test_a_long_turn_goes_on_after_those_of_others(connect):
    def slowly(request):
        time.sleep(0.004)
        return answer(request.correlation_id)

    client = connect(dispatch=slowly)
    client.sock.send(b"".join(frame(number) for number in range(20)))
    client.turn(2)
    first = client.sock.recv(1 << 16)
    assert 2 * 8 <= len(first) <= 10 * 8, "some of the frames were handled in this turn"
    client.turn(10)
    assert first + client.receive() == b"".join(answer(number) for number in range(20))


def test_a_long_turn_that_leaves_nothing_lying_is_not_gone_on_with(connect):
    def slowly(request):
        time.sleep(0.02)
        return answer(request.correlation_id)

    client = connect(dispatch=slowly)
    client.sock.send(frame(1))
    client.turn(5)
    assert (client.sock.recv(1 << 16), client.turns) == (answer(1), 1)


def test_a_frame_larger_than_any_buffer_arrives_whole(connect):
    body = bytes(range(256)) * 3000
    client = connect()
    received = client.send(frame(1, body) + frame(2, b"after")) + client.receive()
    assert received == answer(1, body) + answer(2, b"after")


def test_memory_follows_the_bytes_that_came_not_the_length_that_was_announced(connect):
    budget = MemoryBudget(1 << 30)
    client = connect(max_frame=100 << 20, budget=budget)
    client.send(struct.pack(">i", 100 << 20) + b"x" * 1000)
    client.turn(5)
    assert (budget.used, client.closed) == (0, [])
    client.send(b"x" * 20_000)
    client.turn(5)
    assert 0 < budget.used <= 64 * 1024
    assert client.connection.holds_part


@pytest.mark.parametrize("length", [-1, -(2**31), (1 << 20) + 1, 2**31 - 1])
def test_an_impossible_length_closes_the_connection_and_is_named(connect, length):
    client = connect(max_frame=1 << 20)
    client.send(struct.pack(">i", length))
    client.turn(3)
    assert client.closed[0].startswith(f"frame length {length} is not in [0, 1048576]")


def test_a_tls_hello_is_recognised(connect):
    client = connect()
    client.send(bytes.fromhex("1603010200010001fc0303"))
    client.turn(3)
    assert "looks like a TLS hello" in client.closed[0]


def test_http_is_recognised(connect):
    client = connect()
    client.send(b"GET / HTTP/1.1\r\n\r\n")
    client.turn(3)
    assert "looks like another protocol" in client.closed[0]


@pytest.mark.parametrize("size", range(10))
def test_a_frame_shorter_than_a_header_closes_the_connection(connect, size):
    client = connect()
    client.send(struct.pack(">i", size) + bytes(size))
    client.turn(3)
    assert "RequestHeader" in client.closed[0]
    assert client.requests == []


@pytest.mark.parametrize("size", [-2, -32768, 1, 32767])
def test_a_client_id_that_lies_about_its_size_closes_the_connection(connect, size):
    client = connect()
    client.send(struct.pack(">ihhih", 10, 0, 0, 1, size))
    client.turn(3)
    assert "client_id" in client.closed[0]


def test_a_client_id_that_is_not_utf8_is_replaced(connect):
    client = connect()
    client.send(frame(1, client_id=b"a\xff"))
    assert client.receive() == answer(1)
    assert client.connection.client_id == "a\ufffd"


def test_tagged_fields_of_a_flexible_header_are_skipped(connect):
    client = connect()
    client.send(frame(1, b"body", api_key=18, version=3, tags=b"\x02\x00\x03abc\x07\x00"))
    client.send(frame(2, b"body", api_key=18, version=2))
    client.receive()
    assert [request[4] for request in client.requests] == [b"body", b"body"]


@pytest.mark.parametrize(
    "tags",
    [b"\xff\xff\xff\xff\x0f", b"\x01", b"\x01\x00\xff\x01", b"\xff\xff\xff\xff\xff\xff", b"\x01\x00\x80"],
    ids=["count bomb", "missing field", "size beyond the frame", "endless varint", "cut varint"],
)
def test_tagged_fields_that_lie_close_the_connection(connect, tags):
    client = connect()
    client.send(frame(1, api_key=18, version=3, tags=tags))
    client.turn(3)
    assert len(client.closed) == 1
    assert client.requests == []


def test_answers_leave_in_the_order_of_their_requests(connect):
    parked = Parked(lambda request: request.correlation_id % 2 == 1)
    client = connect(dispatch=parked)
    client.send(b"".join(frame(number) for number in range(5)))
    assert client.receive() == answer(0)
    parked.waiting[1].complete(answer(3))
    assert client.receive() == b""
    parked.waiting[0].complete(answer(1))
    assert client.receive() == b"".join(answer(number) for number in range(1, 5))


def test_a_request_is_answered_once(connect):
    parked = Parked()
    client = connect(dispatch=parked)
    client.send(frame(1))
    client.turn(2)
    parked.waiting[0].complete(answer(1))
    parked.waiting[0].complete(answer(1))
    assert client.receive() == answer(1)


def test_a_request_without_an_answer_leaves_no_gap(connect):
    client = connect(dispatch=lambda request: None if request.correlation_id == 1 else answer(request.correlation_id))
    client.send(frame(0) + frame(1) + frame(2))
    assert client.receive() == answer(0) + answer(2)


def test_an_answer_after_the_client_has_gone_is_dropped(connect):
    parked = Parked()
    client = connect(dispatch=parked)
    client.send(frame(1))
    client.turn(2)
    client.sock.close()
    client.turn(3)
    assert client.closed == [None]
    parked.waiting[0].complete(answer(1))
    client.turn(2)


def test_who_does_not_read_is_not_read_from(connect):
    handled = 0

    def dispatch(request):
        nonlocal handled
        handled += 1
        return answer(request.correlation_id, b"x" * 30_000)

    client = connect(dispatch=dispatch)
    client.sock.send(frame(1) * 1000)
    client.turn(20)
    assert handled < 120, "answers pile up for a client that does not read"
    before = handled
    assert len(client.receive()) == 1000 * 30_008
    assert handled > before, "and it is served again once it reads"


def test_many_waiting_requests_mute_the_connection(connect):
    parked = Parked()
    client = connect(dispatch=parked)
    client.send(b"".join(frame(number) for number in range(500)))
    client.turn(10)
    assert len(parked.waiting) == 128
    for number in range(500):
        parked.waiting[number].complete(answer(number))
        client.turn(2)
    assert client.receive() == b"".join(answer(number) for number in range(500))


def test_answers_behind_one_that_is_waited_for_are_bounded_by_their_bytes(connect):
    first = []
    handled = []

    def dispatch(request):
        handled.append(request.correlation_id)
        if request.correlation_id == 0:
            first.append(request)
            return PENDING
        return answer(request.correlation_id, b"x" * 100_000)

    client = connect(dispatch=dispatch)
    client.sock.send(b"".join(frame(number) for number in range(60)))
    client.turn(10)
    assert 10 <= len(handled) <= 12, "some 1 MiB of answers wait"
    client.sock.send(b"".join(frame(number) for number in range(60, 100)))
    client.turn(10)
    assert len(handled) <= 12, "and nothing more is read"
    first[0].complete(answer(0))
    expected = answer(0) + b"".join(answer(number, b"x" * 100_000) for number in range(1, 100))
    assert client.receive() == expected


def test_answers_given_out_of_order_are_bounded_by_their_bytes(connect):
    parked = Parked(lambda request: request.correlation_id < 4)
    client = connect(dispatch=parked)
    client.send(b"".join(frame(number) for number in range(4)))
    client.turn(5)
    parked.waiting[1].complete([answer(1, b"x" * 600_000)])
    parked.waiting[3].complete(answer(3, b"x" * 600_000))
    client.send(b"".join(frame(number) for number in range(4, 8)))
    client.turn(5)
    assert client.connection.requests == 4
    parked.waiting[0].complete(answer(0))
    assert client.receive() == answer(0) + answer(1, b"x" * 600_000)
    assert client.connection.requests == 8, "one of them has left"
    parked.waiting[2].complete(None)
    expected = answer(3, b"x" * 600_000) + b"".join(answer(number) for number in range(4, 8))
    assert client.receive() == expected


def test_requests_without_answers_do_not_leave_a_client_muted(connect):
    parked = Parked(lambda request: request.correlation_id < 128)
    client = connect(dispatch=parked)
    client.send(b"".join(frame(number) for number in range(130)))
    client.turn(5)
    for request in parked.waiting:
        request.complete(None)
    assert client.receive() == answer(128) + answer(129)


def test_cold_pages_are_read_by_the_threads_that_were_given(connect):
    with ThreadPoolExecutor(1, thread_name_prefix="reader") as readers:
        names = []
        cold = Slice(b"x" * 10, cold=True)
        warm = cold.warm
        cold.warm = lambda sent, most: (names.append(threading.current_thread().name), warm(sent, most))
        client = connect(dispatch=lambda request: [b"head", cold], readers=readers)
        client.send(frame(1))
        received = b""
        while len(received) < 14:
            received += client.receive()
        assert names == ["reader_0"]


class Slice:
    """What a FileSlice looks like to a connection; it takes part of what is offered each time."""

    def __init__(self, data, cold=False):
        self.data = data
        self.size = len(data)
        self.cold_from = 0 if cold else self.size
        self.warmed = []

    def is_warm(self, sent, most):
        return sent + most <= self.cold_from

    def warm(self, sent, most):
        self.warmed.append((sent, most))
        self.cold_from = sent + most

    def send_to(self, fd, sent, most):
        assert sent + most <= max(self.cold_from, 0), "cold bytes would make the loop wait"
        with socket.socket(fileno=socket.dup(fd)) as sock:
            try:
                return sock.send(self.data[sent : sent + min(most, 65536)])
            except BlockingIOError:
                return 0


def test_a_slice_follows_its_header(connect):
    data = bytes(range(250)) * 1200
    client = connect(dispatch=lambda request: [b"head", Slice(data), Slice(b""), b"tail"])
    client.send(frame(1))
    assert client.receive() == b"head" + data + b"tail"


def test_cold_pages_are_read_by_a_thread_before_they_are_sent(connect):
    cold = Slice(bytes(range(250)) * 10_000, cold=True)
    client = connect(dispatch=lambda request: [b"head", cold, b"tail"])
    client.send(frame(1))
    received = b""
    while len(received) < cold.size + 8:
        client.loop.run_until_complete(asyncio.sleep(0.001))
        received += client.receive()
    assert received == b"head" + cold.data + b"tail"
    assert [sent for sent, _ in cold.warmed] == sorted({sent for sent, _ in cold.warmed})


@pytest.mark.parametrize("fault", ["is_warm", "send_to", "warm"])
def test_a_slice_that_cannot_be_read_closes_the_connection(connect, fault):
    class Broken(Slice):
        pass

    def fail(self, *arguments):
        raise OSError(5, "Input/output error")

    setattr(Broken, fault, fail)
    client = connect(dispatch=lambda request: [b"head", Broken(b"x" * 10, cold=fault == "warm")])
    client.send(frame(1))
    while not client.closed:
        client.loop.run_until_complete(asyncio.sleep(0.001))
    assert "Input/output error" in client.closed[0]


def test_past_the_budget_one_connection_goes_on_and_the_others_wait():
    budget = MemoryBudget(64 * 1024)
    clients = [Client(budget=budget, max_frame=1 << 20) for _ in range(3)]
    whole = frame(1, b"y" * 60_000)
    try:
        for client in clients:
            client.sock.send(whole[:50_000])
        for _ in range(20):
            for client in clients:
                client.turn()
        assert budget.small.privileged is not None
        assert budget.used <= budget.limit + len(whole) * 2
        for client in clients:
            client.sock.send(whole[50_000:])
        received = [b""] * 3
        for _ in range(30):
            received = [got + client.receive() for got, client in zip(received, clients, strict=True)]
        assert received == [answer(1, b"y" * 60_000)] * 3
    finally:
        for client in clients:
            client.close()
    assert budget.used == 0


def hold_half_a_frame(budget, size):
    """A client that has sent half of a frame of `size` bytes, or what is taken of it, and stops."""
    client = Client(budget=budget, max_frame=1 << 30)
    data = struct.pack(">i", size) + bytes(size // 2)
    refused = 0
    while data and refused < 5:
        try:
            data = data[client.sock.send(data) :]
            refused = 0
        except BlockingIOError:
            client.turn()
            refused += 1
    client.turn(10)
    return client


def test_small_requests_are_served_whatever_others_leave_unfinished():
    budget = MemoryBudget(1 << 20)
    holders = [hold_half_a_frame(budget, 4 << 20) for _ in range(4)]
    small = Client(budget=budget)
    try:
        assert budget.is_contended
        for number in range(5):
            small.sock.send(frame(number, b"x" * 8000))
            assert small.receive() == answer(number, b"x" * 8000)
    finally:
        for client in [*holders, small]:
            client.close()


def test_half_of_the_budget_is_kept_for_frames_that_are_not_large():
    budget = MemoryBudget(16 << 20)
    holders = [hold_half_a_frame(budget, 30 << 20) for _ in range(4)]
    middle = Client(budget=budget)
    try:
        assert budget.is_contended
        body = b"y" * 500_000
        received = middle.send(frame(1, body))
        middle.turn(10)
        assert received + middle.receive() == answer(1, body)
    finally:
        for client in [*holders, middle]:
            client.close()


def test_a_connection_reads_on_with_the_buffer_it_has():
    """Reading ahead is a luxury: who gets no more memory for it is not held up."""
    budget = MemoryBudget(100)
    clients = [Client(budget=budget) for _ in range(2)]
    try:
        for client in clients:
            received = client.send(b"".join(frame(number, b"x" * 4000) for number in range(40))) + client.receive()
            assert received == b"".join(answer(number, b"x" * 4000) for number in range(40))
    finally:
        for client in clients:
            client.close()


def test_an_idle_connection_gives_its_buffer_back(connect):
    budget = MemoryBudget(1 << 24)
    client = connect(budget=budget)
    client.send(frame(1, b"z" * 50_000))
    client.turn(10)
    client.receive()
    assert budget.used > 0
    assert not client.connection.holds_part
    assert client.connection.release_idle() is False
    assert client.connection.release_idle() is False
    assert budget.used == 0
    client.send(frame(2, b"again"))
    assert client.receive() == answer(2, b"again")


def test_half_a_frame_without_progress_is_reported_as_stalled(connect):
    client = connect()
    client.send(frame(1, b"half")[:9])
    client.turn(2)
    assert client.connection.release_idle() is False
    assert client.connection.release_idle() is True


def test_who_waits_to_answer_a_request_hears_that_its_client_has_gone():
    waiting, heard = [], []

    def dispatch(request):
        request.on_gone = lambda: heard.append(request.correlation_id)
        waiting.append(request)
        return PENDING

    client = Client(dispatch=dispatch)
    client.send(frame(1) + frame(2))
    client.turn(2)
    waiting[0].complete(answer(1, b""))
    client.receive()
    client.close()
    assert heard == [2], "the first was answered"


def test_a_budget_of_nothing_is_no_limit():
    budget = MemoryBudget(-1)
    clients = [Client(budget=budget) for _ in range(3)]
    for client in clients:
        client.send(frame(1, bytes(100_000))[:-1])
        client.turn(10)
    assert budget.used > 0
    assert not any(budget.is_privileged(client.connection) for client in clients)
    assert not budget.is_contended
    for client in clients:
        client.close()
    assert budget.used == 0


def test_who_is_closed_while_it_waits_for_memory_waits_no_longer():
    budget = MemoryBudget(2)
    first, second = (hold_half_a_frame(budget, 60_000) for _ in range(2))
    assert budget.is_privileged(first.connection)
    assert budget.is_contended
    second.close()
    assert not budget.is_contended
    first.close()


def test_a_client_that_does_not_read_is_not_waited_for_by_us():
    client = Client(dispatch=lambda request: PENDING if request.correlation_id == 1 else answer(2, bytes(1 << 24)))
    client.send(frame(1))
    client.turn(2)
    assert client.connection.is_waited_for
    client.close()
    client = Client(dispatch=lambda request: answer(1, bytes(1 << 24)) if request.correlation_id == 1 else PENDING)
    client.send(frame(1) + frame(2))
    client.turn(2)
    assert not client.connection.is_waited_for
    client.close()
