"""The socket of one client: frames in, answers out in the order of their requests.

A frame is a length (int32, big-endian) and that many bytes: a request header and a body (RequestHeader.json).

    receive buffer   [ handled | frame | frame | part of a frame |      room      ]
                               ^ start                            ^ end           ^ capacity

Always true:
- Memory follows the bytes that have come, never the length that was announced: the buffer doubles when it is full.
- One read is one turn: all whole frames of it are handled, their answers leave in one send. A turn that has become
  long goes on after those of others.
- Who does not read its answers is not read from (KIP-283's muting, SocketServer.scala).
- The loop never waits for a disk: file pages that are not cached are read by a thread before they are sent, so that a
  consumer catching up does not stall the producers (as it does in Kafka, KAFKA-7504).
- `Request.buffer` belongs to the turn: a handler that answers later has taken what it needs.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from kstore._native.durations cimport Durations
from kstore._native.hot_messages cimport RequestHeader, read_request_header
from kstore._native.libkstore cimport KS_ETRUNCATED, ks_frame_claim, ks_frame_length

from collections import deque

from kstore.errors import CorruptRecordError, InvalidRequestError

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL
        MSG_MORE
    Py_ssize_t recv(int fd, void *buffer, size_t size, int flags)
    Py_ssize_t send(int fd, const void *buffer, size_t size, int flags)


cdef enum:
    FIRST_CAPACITY = 8 * 1024
    # Pipelined small batches are taken some sixteen at a time; more would leave the processor's cache.
    READ_AHEAD = 256 * 1024
    # Beyond this a frame counts as large.
    LARGE = 1024 * 1024
    # A long frame is read to its end and not beyond, so that no half of the next one has to be moved.
    LONG_REMAINDER = 64 * 1024
    # Answers waiting, in bytes, before more requests of this client are looked at.
    MAX_QUEUED = 1024 * 1024
    MAX_PENDING = 128
    # One client's requests do not hold up the others' for longer than this: thousands fit in one read.
    LONGEST_TURN_NS = 10 * 1000 * 1000
    # One client's bulk reads do not hold up the others' turn for longer than this takes to send.
    MAX_SENT_A_TURN = 8 * 1024 * 1024
    JOINED = 64 * 1024
    # So much of a file is asked for in the page cache before it is sent; a probe of it costs some microseconds.
    WARM_WINDOW = 1024 * 1024
    # What is no API key.
    NOT_ANSWERED = -1


class _Marker:
    __slots__ = ("_name",)

    def __init__(self, name):
        self._name = name

    def __repr__(self):
        return self._name


PENDING = _Marker("PENDING")


@cython.final
@cython.freelist(64)
cdef class Request:
    """One request: its header, where its body lies, and the place where its answer is waited for."""

    cpdef void complete(self, object answer):
        """Answers a request whose handler returned PENDING. `answer` is None, bytes, or a list of parts."""
        if self.answered:
            return
        self.on_gone = None
        self.connection.keep(self, answer)
        self.connection.took(self.api_key, now_ns() - self.started_ns)
        self.connection.answer_in_order()


@cython.final
cdef class Pool:
    """Memory for unfinished requests. Past `limit` one connection, the privileged one, may still grow, so that some
    frame always gets finished."""

    def __cinit__(self, Py_ssize_t limit):
        self.limit = limit
        self.used = 0
        self.privileged = None
        self.waiting = deque()

    cdef bint take(self, Connection connection, Py_ssize_t size):
        if size > self.limit - self.used and connection is not self.privileged:
            if self.privileged is not None:
                return False
            self.privileged = connection
        self.used += size
        return True

    cdef void give(self, Py_ssize_t size):
        self.used -= size
        if self.waiting:
            self.admit()

    cdef void leave(self, Connection connection):
        if self.privileged is connection:
            self.privileged = None
            if self.waiting:
                self.admit()

    cdef void admit(self):
        cdef Connection connection
        admitted = self.waiting
        self.waiting = deque()
        for connection in admitted:
            connection.read_on()


@cython.final
cdef class MemoryBudget:
    """What all connections together may hold of unfinished requests (`queued.max.request.bytes`); 0 or less: no limit.

    Large frames share one half of it, the others the other half, and a connection's first buffer is not counted:
    whoever sends small requests is served, however much others leave unfinished.
    """

    def __cinit__(self, Py_ssize_t limit):
        self.limit = limit if limit > 0 else PY_SSIZE_T_MAX
        self.small = Pool(self.limit // 2)
        self.large = Pool(self.limit // 2)

    @property
    def used(self):
        return self.small.used + self.large.used

    @property
    def is_contended(self):
        """True while a connection waits for room."""
        return bool(self.small.waiting or self.large.waiting)

    def is_privileged(self, Connection connection):
        return connection is self.small.privileged or connection is self.large.privileged

    cdef Pool pool_of(self, Py_ssize_t capacity):
        return self.large if capacity > LARGE else self.small

    cdef bint change(self, Connection connection, Py_ssize_t before, Py_ssize_t after):
        """Takes memory for a buffer of `after` bytes in place of one of `before`. False if there is none."""
        cdef Pool old = self.pool_of(before), new = self.pool_of(after)
        cdef Py_ssize_t growth = counted(after) - (counted(before) if old is new else 0)
        if growth > 0 and not new.take(connection, growth):
            return False
        if growth < 0:
            new.give(-growth)
        if old is not new:
            old.leave(connection)
            old.give(counted(before))
        return True

    cdef bint is_strained_by(self, Connection connection):
        """Whether a buffer that is not in use right now is to be given back at once."""
        cdef Pool pool = self.pool_of(connection.capacity)
        return pool.privileged is connection or pool.used > pool.limit // 2

    cdef void leave(self, Connection connection):
        cdef Pool pool
        for pool in (self.small, self.large):
            if connection.closed and connection.starved and connection in pool.waiting:
                pool.waiting.remove(connection)
            pool.leave(connection)


@cython.final
cdef class Connection:
    """Owns a non-blocking socket and drives it from the loop's readiness callbacks.

    `dispatch(request)` returns the answer (bytes of a whole frame, or a list of bytes and slices), None for a request
    that gets none, or PENDING; it raises InvalidRequestError to have the connection closed. `durations`, by API key,
    learn how long each request took until its answer was there.
    """

    def __cinit__(
        self, *, sock, peer, listener_name, loop, dispatch, turn_ended, on_close, MemoryBudget budget,
        Py_ssize_t max_frame, readers=None, list durations=None,
    ):
        self.fd = sock.fileno()
        self.sock = sock
        self.peer = peer
        self.listener_name = listener_name
        self.client_id = None
        self.loop = loop
        self.dispatch = dispatch
        self.turn_ended = turn_ended
        self.on_close = on_close
        self.readers = readers
        self.budget = budget
        self.max_frame = max_frame
        self.durations = durations if durations is not None else []
        self.inbuf = None
        self.capacity = self.start = self.end = 0
        self.pending = deque()
        self.out = []
        self.out_index = 0
        self.out_sent = 0
        self.out_size = 0
        self.writing = self.reading = self.flushing = self.closed = self.filled = self.starved = self.tired = False
        self.warming = self.warmed = False
        self.progressed = True
        self.requests = 0

    def open(self):
        """Starts to read."""
        self.update_reading()

    def close(self, reason=None):
        """Closes the socket; requests that wait for their answer are forgotten. Safe to call twice."""
        if self.closed:
            return
        self.closed = True
        if self.reading:
            self.loop.remove_reader(self.fd)
        if self.writing:
            self.loop.remove_writer(self.fd)
        self.reading = self.writing = False
        self.sock.close()
        pending, self.pending = self.pending, deque()
        for request in pending:
            forget(request)
        self.out.clear()
        self.pending_size = 0
        self.start = self.end = 0
        self.set_capacity(0)
        self.budget.leave(self)
        self.on_close(self, reason)

    def release_idle(self):
        """Gives the receive buffer back if nothing came since the last call. True if half a frame is stalled in it."""
        stalled = not self.progressed and self.end > self.start
        if not self.progressed and self.end == self.start:
            self.set_capacity(0)
        self.progressed = False
        return stalled

    @property
    def holds_part(self):
        """True when bytes have come that are no whole request yet, or one that is not taken up yet."""
        return self.end > self.start

    @property
    def is_waited_for(self):
        """True when the client has done its part: a request waits for an answer that could leave, or for memory."""
        return self.warming or self.starved or (bool(self.pending) and not self.writing)

    # Reading

    def on_readable(self):
        cdef int received = self.receive()
        if received < 0:
            self.close()
        elif received > 0:
            self.progressed = True
            self.turn()

    cdef int receive(self) except -2:
        """One recv. Returns 1 when bytes came, 0 when none did, -1 when the stream has ended."""
        cdef Py_ssize_t capacity = self.next_capacity()
        cdef Py_ssize_t room, received, remainder
        cdef char *to
        if capacity != self.capacity and not self.set_capacity(capacity) and self.end == self.capacity:
            self.starved = True
            self.budget.pool_of(capacity).waiting.append(self)
            self.update_reading()
            return 0
        room = self.capacity - self.end
        if self.end - self.start >= 4:
            remainder = 4 + self.frame_length() - (self.end - self.start)
            if LONG_REMAINDER <= remainder < room:
                room = remainder
        to = PyByteArray_AS_STRING(self.inbuf) + self.end
        with nogil:
            received = recv(self.fd, to, room, MSG_DONTWAIT)
        if received < 0:
            return 0 if errno == EAGAIN or errno == EINTR else -1
        if received == 0:
            return -1
        self.end += received
        return 1

    cdef Py_ssize_t next_capacity(self):
        """The capacity for the next recv; makes room at the end of the buffer by moving its content to the front."""
        cdef Py_ssize_t held = self.end - self.start
        cdef Py_ssize_t needed = 4
        cdef char *base
        if held >= 4:
            needed = 4 + self.frame_length()
        if self.start > 0 and (self.end == self.capacity or self.start + needed > self.capacity):
            base = PyByteArray_AS_STRING(self.inbuf)
            memmove(base, base + self.start, held)
            self.start = 0
            self.end = held
        if self.capacity == 0:
            return FIRST_CAPACITY
        if self.end < self.capacity and not (self.filled and self.capacity < READ_AHEAD):
            return self.capacity
        self.filled = False
        if self.capacity >= READ_AHEAD:
            return max(min(self.capacity * 2, needed), READ_AHEAD)
        return min(self.capacity * 2, READ_AHEAD)

    cdef Py_ssize_t frame_length(self):
        """What the next frame says of its length; its first four bytes have come."""
        return ks_frame_claim(<const uint8_t *>PyByteArray_AS_STRING(self.inbuf) + self.start)

    cdef Py_ssize_t whole_frame(self):
        """The length of the next frame if it has come; KS_ETRUNCATED or KS_ECORRUPT."""
        if self.inbuf is None:
            return KS_ETRUNCATED
        return ks_frame_length(
            <const uint8_t *>PyByteArray_AS_STRING(self.inbuf) + self.start, self.end - self.start, self.max_frame
        )

    cdef int set_capacity(self, Py_ssize_t capacity) except -1:
        """Moves what is held into a buffer of `capacity` bytes. Returns 0 if the shared budget has no room for it."""
        cdef Py_ssize_t held = self.end - self.start
        if not self.budget.change(self, self.capacity, capacity):
            return 0
        inbuf = bytearray(capacity) if capacity else None
        if held:
            memcpy(PyByteArray_AS_STRING(inbuf), PyByteArray_AS_STRING(self.inbuf) + self.start, held)
        self.inbuf = inbuf
        self.capacity = capacity
        self.start = 0
        self.end = held
        return 1

    cdef void read_on(self):
        """There may be room in the budget again."""
        self.starved = False
        if not self.closed:
            self.loop.call_soon(self.resume)

    def resume(self):
        """Takes up frames that were left lying while answers waited to leave."""
        if not self.closed:
            self.turn()

    # One turn

    cdef int turn(self) except -1:
        cdef bint drained
        cdef long long deadline = now_ns() + LONGEST_TURN_NS
        self.tired = False
        while not self.closed:
            self.handle_frames(deadline)
            if self.closed:
                break
            drained = self.drain()
            if not drained or not self.has_frame() or self.is_full() or self.tired:
                break
        self.turn_ended()
        if not self.closed:
            if self.tired and self.has_frame():
                self.loop.call_soon(self.resume)
            self.filled = self.end == self.capacity
            if self.start == self.end:
                self.start = self.end = 0
                if self.budget.is_strained_by(self):
                    self.set_capacity(0)
                    self.budget.leave(self)
            self.update_reading()
        return 0

    cdef bint has_frame(self):
        """Whether the next frame is whole, or one that will never be taken."""
        return self.whole_frame() != KS_ETRUNCATED

    cdef int handle_frames(self, long long deadline) except -1:
        cdef Py_ssize_t length, position
        cdef long long now = now_ns()
        cdef int answered_key
        while self.end - self.start >= 4 and not self.closed:
            if self.is_full() or self.tired:
                return 0
            length = self.whole_frame()
            if length == KS_ETRUNCATED:
                return 0
            if length < 0:
                self.fail(self.describe_length(self.frame_length()))
                return 0
            position = self.start + 4
            self.start = position + length
            self.requests += 1
            self.taken_ns = now
            answered_key = self.handle_frame(position, position + length)
            now = now_ns()
            if answered_key != NOT_ANSWERED:
                self.took(answered_key, now - self.taken_ns)
            # Asked after each, not before: some frame is handled in every turn.
            self.tired = now > deadline
        return 0

    cdef void took(self, int api_key, long long nanoseconds):
        if 0 <= api_key < len(self.durations):
            (<Durations>self.durations[api_key]).observe(nanoseconds)

    cdef int handle_frame(self, Py_ssize_t position, Py_ssize_t limit) except -2:
        """The API key of a request that is answered, NOT_ANSWERED for one that waits or has failed."""
        cdef Request request
        try:
            request = self.read_header(position, limit)
            answer = self.dispatch(request)
        except InvalidRequestError as error:
            self.fail(str(error))
            return NOT_ANSWERED
        request.buffer = None
        if self.closed:
            forget(request)
            return NOT_ANSWERED
        if answer is PENDING:
            self.pending.append(request)
            return NOT_ANSWERED
        if self.pending:
            self.pending.append(request)
            self.keep(request, answer)
        else:
            self.queue(answer)
        return request.api_key

    cdef Request read_header(self, Py_ssize_t position, Py_ssize_t limit):
        cdef RequestHeader header = read_request_header(
            <const unsigned char *>PyByteArray_AS_STRING(self.inbuf), position, limit
        )
        cdef Request request = Request.__new__(Request)
        request.connection = self
        request.started_ns = self.taken_ns
        request.api_key = header.api_key
        request.api_version = header.api_version
        request.correlation_id = header.correlation_id
        request.client_id = self.client_id = header.client_id
        request.buffer = self.inbuf
        request.position = header.body_position
        request.limit = limit
        return request

    cdef object describe_length(self, Py_ssize_t length):
        cdef bytes head = bytes(memoryview(self.inbuf)[self.start:self.start + 4])
        hint = ""
        if head[0] == 0x16 and head[1] == 3:
            hint = "; it looks like a TLS hello on a plaintext listener"
        elif head.isalpha() or head[:3].isalpha():
            hint = f"; {head.decode('ascii', 'replace')!r} looks like another protocol"
        return f"frame length {length} is not in [0, {self.max_frame}]{hint}"

    cdef void fail(self, object reason):
        self.close(reason)

    # Answering

    cdef bint is_full(self):
        """Enough of this client's answers wait, to leave or for one before them; nothing more of it is looked at."""
        return self.out_size + self.pending_size > MAX_QUEUED or len(self.pending) >= MAX_PENDING

    cdef void queue(self, object answer):
        if answer is None:
            return
        if type(answer) is bytes:
            self.out.append(answer)
            self.out_size += PyBytes_GET_SIZE(answer)
            return
        self.out.extend(answer)
        self.out_size += size_of(answer)

    cdef void keep(self, Request request, object answer):
        """Answers a request that is in `pending`: others before it may not be answered yet."""
        request.answer = answer
        request.answered = True
        request.answer_size = size_of(answer)
        self.pending_size += request.answer_size

    cdef void answer_in_order(self):
        cdef Request request
        if self.closed:
            return
        while self.pending:
            request = self.pending[0]
            if not request.answered:
                break
            self.pending.popleft()
            self.pending_size -= request.answer_size
            self.queue(request.answer)
            request.answer = None
        if (self.out or not self.reading) and not self.flushing:
            # Several requests may be answered in one turn of another connection: they leave together.
            self.flushing = True
            self.loop.call_soon(self.flush)

    def flush(self):
        self.flushing = False
        if not self.closed:
            self.turn()

    def on_writable(self):
        if not self.closed:
            self.turn()

    cdef int drain(self) except -1:
        """Sends what is queued. Returns 1 when all of it has left, 0 when the socket takes no more for now."""
        cdef Py_ssize_t sent, size, window, sent_now = 0
        cdef int flags
        cdef const char *data
        if self.warming:
            return 0
        while self.out_index < len(self.out):
            part = self.out[self.out_index]
            if type(part) is bytes:
                part = self.join_run()
                size = PyBytes_GET_SIZE(part)
                flags = MSG_DONTWAIT | MSG_NOSIGNAL
                if self.out_index + 1 < len(self.out):
                    flags |= MSG_MORE
                data = PyBytes_AS_STRING(part) + self.out_sent
                with nogil:
                    sent = send(self.fd, data, size - self.out_sent, flags)
                if sent < 0:
                    if errno == EAGAIN or errno == EINTR:
                        self.wait_writable()
                        return 0
                    self.close()
                    return 0
            else:
                size = part.size
                window = min(size - self.out_sent, WARM_WINDOW)
                try:
                    if not (self.warmed or part.is_warm(self.out_sent, window)):
                        self.warm(part)
                        return 0
                    sent = part.send_to(self.fd, self.out_sent, window) if window else 0
                except (OSError, CorruptRecordError) as error:
                    self.close(f"cannot send from {part!r}: {error}")
                    return 0
                self.warmed = False
                if sent < window:
                    self.out_sent += sent
                    self.wait_writable()
                    return 0
            self.progressed = True
            self.out_sent += sent
            sent_now += sent
            if self.out_sent == size:
                self.out_index += 1
                self.out_sent = 0
                if type(part) is bytes:
                    self.out_size -= size
            if sent_now > MAX_SENT_A_TURN and self.out_index < len(self.out):
                self.wait_writable()
                return 0
        self.out.clear()
        self.out_index = 0
        if self.writing:
            self.writing = False
            self.loop.remove_writer(self.fd)
        return 1

    cdef object join_run(self):
        """The bytes at `out_index`, joined with those that follow: many small answers leave in one send."""
        cdef Py_ssize_t first = self.out_index, last, size
        cdef list run
        if self.out_sent or first + 1 == len(self.out) or type(self.out[first + 1]) is not bytes:
            return self.out[first]
        size = 0
        last = first
        while last < len(self.out) and type(self.out[last]) is bytes and size < JOINED:
            size += PyBytes_GET_SIZE(self.out[last])
            last += 1
        run = self.out[first:last]
        joined = b"".join(run)
        self.out[first:last] = [joined]
        return joined

    cdef void warm(self, object part):
        """Has the next window of `part` read by a thread; nothing is sent meanwhile."""
        self.warming = True
        self.loop.run_in_executor(self.readers, part.warm, self.out_sent, WARM_WINDOW).add_done_callback(self.on_warm)

    def on_warm(self, future):
        self.warming = False
        if self.closed:
            return
        if future.exception() is not None:
            self.close(f"cannot read what is to be sent: {future.exception()}")
            return
        # Sent without another look, so that something moves even if the page has been dropped again.
        self.warmed = True
        self.turn()

    cdef void wait_writable(self):
        if not self.writing:
            self.writing = True
            self.loop.add_writer(self.fd, self.on_writable)

    cdef void update_reading(self):
        """Reads while answers leave, few requests wait, and there is memory: otherwise the client is muted."""
        cdef bint wanted = not (self.writing or self.warming or self.starved or self.is_full())
        if wanted == self.reading:
            return
        self.reading = wanted
        if wanted:
            self.loop.add_reader(self.fd, self.on_readable)
        else:
            self.loop.remove_reader(self.fd)


cdef int forget(Request request) except -1:
    """The connection of `request` is closed: whatever waits to answer it need not."""
    on_gone, request.on_gone = request.on_gone, None
    if on_gone is not None and not request.answered:
        on_gone()
    return 0


cdef Py_ssize_t size_of(object answer) except -1:
    """The memory that an answer takes: slices of files take none."""
    cdef Py_ssize_t size = 0
    if answer is None:
        return 0
    if type(answer) is bytes:
        return PyBytes_GET_SIZE(answer)
    for part in answer:
        if type(part) is bytes:
            size += PyBytes_GET_SIZE(part)
    return size


cdef inline long long now_ns() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <long long>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline Py_ssize_t counted(Py_ssize_t capacity) noexcept:
    """What of a buffer counts against the budget: all but the first that every connection has."""
    return capacity - FIRST_CAPACITY if capacity > FIRST_CAPACITY else 0
