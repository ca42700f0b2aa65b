"""Listeners of a live broker: where they are bound, and who is not kept waiting for or by whom."""

import errno
import socket
import struct

import pytest

from kstore.protocol.messages.metadata import MetadataRequest
from tests.fix_broker import batch, fetch_request, frame, produce_request

MIB = 1 << 20


def sweep(broker, times):
    broker.call(lambda app: [app.listeners.sweep() for _ in range(times)])


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="the system has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_host_is_every_address(start_broker, host):
    broker = start_broker(overrides={"listeners": "PLAINTEXT://:0", "max.connections.per.ip.overrides": "127.0.0.1:1"})
    with socket.create_connection((host, broker.port), timeout=30) as client:
        client.sendall(frame(MetadataRequest(topics=[]), 4))
        assert client.recv(4)
        assert broker.call(lambda app: [connection.peer[0] for connection in app.listeners.connections]) == [host]


def test_an_address_that_is_taken_is_named(start_broker, tmp_path):
    port = start_broker(tmp_path / "first").port
    with pytest.raises(OSError, match=f"127.0.0.1:{port}") as refused:
        start_broker(tmp_path / "second", overrides={"listeners": f"PLAINTEXT://127.0.0.1:{port}"})
    assert refused.value.errno == errno.EADDRINUSE


def test_half_a_frame_is_not_waited_for_longer_than_silence(start_broker):
    broker = start_broker(overrides={"connections.max.idle.ms": "5000"})
    with broker.connect() as half, broker.connect() as patient:
        patient.create_topic("t")
        half.socket.sendall(struct.pack(">i", 100) + b"half")
        patient.send(fetch_request({("t", 0): 0}, min_bytes=1, max_wait_ms=600_000), 12)
        broker.wait_for(lambda app: sum(connection.holds_part for connection in app.listeners.connections) == 1)
        broker.wait_for(lambda app: len(app.context.deliver.fetches) == 1)
        sweep(broker, 10)
        assert half.is_closed_by_the_broker()
        with broker.connect() as other:
            other.produce("t", batch(b"x"))
        assert len(patient.receive().responses[0].partitions[0].records) > 0


def test_no_limit_of_idleness(start_broker):
    broker = start_broker(overrides={"connections.max.idle.ms": "-1"})
    with broker.connect() as client:
        client.create_topic("t")
        sweep(broker, 1000)
        assert client.produce("t", batch(b"x")).base_offset == 0


def test_frames_that_drip_do_not_hold_up_others_for_ever(start_broker):
    limits = {"socket.request.max.bytes": str(MIB), "queued.max.request.bytes": str(MIB)}
    broker = start_broker(overrides=limits)
    dripping = [broker.connect() for _ in range(3)]
    with broker.connect() as client:
        client.create_topic("t")
        for each in dripping:
            each.socket.sendall(struct.pack(">i", MIB - 100) + bytes(700_000))
        client.send(produce_request({("t", 0): batch(bytes(600_000))}, acks=1), 9)
        broker.wait_for(lambda app: app.listeners._budget.is_contended)
        for _ in range(200):
            for each in list(dripping):
                try:
                    each.socket.sendall(b"x")
                except ConnectionError:
                    dripping.remove(each)
            sweep(broker, 1)
        assert client.receive().responses[0].partition_responses[0].base_offset == 0
