"""ApiVersions, DescribeCluster, InitProducerId and OffsetForLeaderEpoch against a live broker."""

import shutil
import struct

import pytest

from kstore.cluster.metadata_log import MetadataLog
from kstore.errors import KafkaStorageError
from kstore.protocol.messages.api_versions import ApiVersionsRequest, ApiVersionsResponse
from kstore.protocol.messages.describe_cluster import DescribeClusterRequest
from kstore.protocol.messages.init_producer_id import InitProducerIdRequest
from kstore.protocol.messages.offset_for_leader_epoch import OffsetForLeaderEpochRequest
from kstore.server.dispatch import APIS
from tests.fix_broker import batch, frame

LOADING = 14
NONE, UNKNOWN_TOPIC, UNSUPPORTED_VERSION, INVALID_REQUEST = 0, 3, 35, 42
NO_TRANSACTION, UNKNOWN_EPOCH = 53, 75


# ApiVersions


def names(**fields):
    return ApiVersionsRequest(client_software_name="test", client_software_version="1.0", **fields)


@pytest.mark.parametrize("version", range(5))
def test_the_apis_are_told_in_every_version(client, version):
    answer = client.ask(names() if version >= 3 else ApiVersionsRequest(), version)
    told = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
    ranges = {key: (lowest, highest) for key, (_, lowest, highest) in APIS.items()}
    # librdkafka does not compress where version 0 of Produce is missing.
    assert told == ranges | {0: (0, 11)}


@pytest.mark.parametrize("version", [5, 100, 32767, -1])
def test_an_unknown_version_is_answered_in_version_0(client, version):
    # From version 3 on the header has tagged fields.
    data = bytearray(frame(names(), 4) if version >= 3 else frame(ApiVersionsRequest(), 0))
    struct.pack_into(">h", data, 6, version)
    client.socket.sendall(data)
    body = client.receive_frame()
    answer = ApiVersionsResponse.decode(body, 4, len(body), 0)
    assert answer.error_code == UNSUPPORTED_VERSION
    assert [(each.api_key, each.min_version, each.max_version) for each in answer.api_keys] == [(18, 0, 4)]
    # The connection lives on: the client asks again in a version that is known.
    assert client.ask(ApiVersionsRequest(), 0).error_code == NONE


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("x", ""), ("-x", "1"), ("a b", "1"), ("x", "1\n"), ("\u00e9", "1")]
)
def test_clients_have_a_proper_name(client, name, version):
    request = ApiVersionsRequest(client_software_name=name, client_software_version=version)
    assert client.ask(request, 3).error_code == INVALID_REQUEST


# DescribeCluster


@pytest.mark.parametrize("version", range(2))
def test_the_cluster_is_this_broker(broker, client, version):
    answer = client.ask(DescribeClusterRequest(), version)
    own = broker.app.context.node_id
    assert (answer.error_code, answer.cluster_id, answer.controller_id) == (NONE, broker.app.context.cluster_id, own)
    assert [(each.broker_id, each.host, each.port) for each in answer.brokers] == [(own, "127.0.0.1", broker.port)]
    assert answer.cluster_authorized_operations == -(2**31)


@pytest.mark.parametrize(("endpoint_type", "code"), [(1, NONE), (2, 114), (3, 115), (0, 115), (-1, 115)])
def test_a_broker_knows_brokers(client, endpoint_type, code):
    assert client.ask(DescribeClusterRequest(endpoint_type=endpoint_type), 1).error_code == code


# InitProducerId


def init(client, version=5, transactional_id=None, **fields):
    request = InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout_ms=1000, **fields)
    return client.ask(request, version)


@pytest.mark.parametrize("version", range(6))
def test_a_producer_gets_an_id_of_its_own(client, version):
    answers = [init(client, version) for _ in range(3)]
    assert [(answer.error_code, answer.producer_epoch) for answer in answers] == [(NONE, 0)] * 3
    assert len({answer.producer_id for answer in answers}) == 3


def test_an_id_that_is_brought_along_counts_for_nothing(client):
    first = init(client)
    second = init(client, producer_id=first.producer_id, producer_epoch=first.producer_epoch)
    assert (second.error_code, second.producer_epoch) == (NONE, 0)
    assert second.producer_id != first.producer_id


@pytest.mark.parametrize(("producer_id", "epoch"), [(5, -1), (-1, 5)])
def test_half_an_identity_is_refused(client, producer_id, epoch):
    answer = init(client, producer_id=producer_id, producer_epoch=epoch)
    assert (answer.error_code, answer.producer_id) == (INVALID_REQUEST, -1)


def test_there_are_no_transactions_yet(client):
    answer = init(client, transactional_id="mine")
    assert (answer.error_code, answer.producer_id) == (NO_TRANSACTION, -1)


def test_no_id_is_given_twice_not_even_after_a_restart(start_broker):
    given = []
    for _ in range(3):
        broker = start_broker()
        clients = [broker.connect() for _ in range(3)]
        given += [init(client).producer_id for client in clients for _ in range(700)]
        broker.stop()
    assert len(set(given)) == len(given) == 6300


def test_a_producer_may_try_again_when_no_ids_could_be_claimed(start_broker, monkeypatch):
    client = start_broker().connect()
    request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000)
    with monkeypatch.context() as full:
        full.setattr(MetadataLog, "append", refuse)
        assert client.ask(request, 4).error_code == LOADING
    assert client.ask(request, 4).producer_id == 0


def refuse(*_arguments, **_options):
    raise KafkaStorageError("the disk is full")


# OffsetForLeaderEpoch


def epoch_end(client, topic, epoch, *, partition=0, current=-1, version=4):
    part = OffsetForLeaderEpochRequest.OffsetForLeaderPartition(
        partition=partition, leader_epoch=epoch, current_leader_epoch=current
    )
    wanted = OffsetForLeaderEpochRequest.OffsetForLeaderTopic(topic=topic, partitions=[part])
    answer = client.ask(OffsetForLeaderEpochRequest(topics=[wanted]), version)
    (result,) = answer.topics[0].partitions
    return result.error_code, result.leader_epoch, result.end_offset


@pytest.mark.parametrize("version", range(5))
def test_the_end_of_an_epoch_is_told_in_every_version(client, version):
    client.create_topic(f"epoch.{version}")
    client.produce(f"epoch.{version}", batch(b"a", b"b"))
    code, epoch, end = epoch_end(client, f"epoch.{version}", 0, version=version)
    assert (code, end) == (NONE, 2)
    assert epoch == (0 if version >= 1 else -1)


def test_the_end_of_an_earlier_epoch_is_where_the_next_began(start_broker, tmp_path):
    first = start_broker(tmp_path / "first")
    client = first.connect()
    client.create_topic("epochs")
    client.produce("epochs", batch(b"a"))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    client = start_broker(tmp_path / "copy").connect()
    client.produce("epochs", batch(b"b"))
    assert epoch_end(client, "epochs", 0) == (NONE, 0, 1)
    assert epoch_end(client, "epochs", 1) == (NONE, 1, 2)
    assert epoch_end(client, "epochs", 5) == (NONE, -1, -1)
    assert epoch_end(client, "epochs", 0, current=0)[0] == 74


def test_unknown_partitions_and_epochs_are_told(client):
    client.create_topic("known")
    assert epoch_end(client, "nobody", 0) == (UNKNOWN_TOPIC, -1, -1)
    assert epoch_end(client, "known", 0, partition=3) == (UNKNOWN_TOPIC, -1, -1)
    assert epoch_end(client, "known", 0, current=4) == (UNKNOWN_EPOCH, -1, -1)
