"""What other Cython may see of a connection: requests that know their socket, and the budget they share."""


cdef class Request:
    cdef readonly Connection connection
    cdef readonly int api_key
    cdef readonly int api_version
    cdef readonly int correlation_id
    cdef readonly object client_id
    cdef readonly object buffer
    cdef readonly Py_ssize_t position
    cdef readonly Py_ssize_t limit
    # Called when the connection closes before the request is answered.
    cdef public object on_gone
    cdef object answer
    cdef Py_ssize_t answer_size
    cdef bint answered
    # When the request was taken up.
    cdef long long started_ns

    cpdef void complete(self, object answer)


cdef class Pool:
    cdef readonly Py_ssize_t limit
    cdef readonly Py_ssize_t used
    cdef readonly Connection privileged
    cdef object waiting

    cdef bint take(self, Connection connection, Py_ssize_t size)
    cdef void give(self, Py_ssize_t size)
    cdef void leave(self, Connection connection)
    cdef void admit(self)


cdef class MemoryBudget:
    cdef readonly Py_ssize_t limit
    cdef readonly Pool small
    cdef readonly Pool large

    cdef Pool pool_of(self, Py_ssize_t capacity)
    cdef bint change(self, Connection connection, Py_ssize_t before, Py_ssize_t after)
    cdef bint is_strained_by(self, Connection connection)
    cdef void leave(self, Connection connection)


cdef class Connection:
    cdef readonly int fd
    cdef readonly object peer
    cdef readonly object client_id
    cdef readonly object listener_name
    cdef readonly bint closed
    # Bytes have moved since the last `release_idle`.
    cdef readonly bint progressed
    # Requests taken up so far.
    cdef readonly long long requests
    cdef object sock
    cdef object loop
    cdef object dispatch
    cdef object turn_ended
    cdef object on_close
    # The threads that read cold files; None: the loop's own.
    cdef object readers
    cdef MemoryBudget budget
    cdef Py_ssize_t max_frame
    # Durations by API key.
    cdef list durations
    # When the request was taken up that is at work now.
    cdef long long taken_ns

    cdef bytearray inbuf
    cdef Py_ssize_t capacity
    cdef Py_ssize_t start
    cdef Py_ssize_t end
    # The last recv left no room: more has probably come already.
    cdef bint filled
    cdef bint reading
    cdef bint starved
    # This turn was long enough; the next one is asked for.
    cdef bint tired

    # Requests in the order of their arrival whose answers, or whose predecessors' answers, are not there yet.
    cdef object pending
    # Bytes of those among them that are answered already.
    cdef Py_ssize_t pending_size
    cdef list out
    cdef Py_ssize_t out_index
    cdef Py_ssize_t out_sent
    cdef Py_ssize_t out_size
    cdef bint writing
    cdef bint flushing
    # A thread reads what is to be sent next; it has, and that has not been sent yet.
    cdef bint warming
    cdef bint warmed

    cdef int receive(self) except -2
    cdef Py_ssize_t next_capacity(self)
    cdef Py_ssize_t frame_length(self)
    cdef Py_ssize_t whole_frame(self)
    cdef int set_capacity(self, Py_ssize_t capacity) except -1
    cdef void read_on(self)
    cdef int turn(self) except -1
    cdef bint has_frame(self)
    cdef int handle_frames(self, long long deadline) except -1
    cdef int handle_frame(self, Py_ssize_t position, Py_ssize_t limit) except -2
    cdef void took(self, int api_key, long long nanoseconds)
    cdef Request read_header(self, Py_ssize_t position, Py_ssize_t limit)
    cdef object describe_length(self, Py_ssize_t length)
    cdef void fail(self, object reason)
    cdef bint is_full(self)
    cdef void queue(self, object answer)
    cdef void keep(self, Request request, object answer)
    cdef void answer_in_order(self)
    cdef int drain(self) except -1
    cdef object join_run(self)
    cdef void warm(self, object part)
    cdef void wait_writable(self)
    cdef void update_reading(self)
