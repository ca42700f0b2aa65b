"""Who a broker is in a cluster, and how it shows ZooKeeper that: ids, addresses, logins, certificates."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from tests.judge.certificates import Authority
from tests.judge.java import QUICK_JVM, JudgeError, free_port
from tests.judge.kafka import KafkaBroker, ZooKeeper
from tests.judge.kstore import KstoreServer
from tests.judge.secure_zookeeper import SaslZooKeeper, TlsZooKeeper, client_login
from tests.zk.members import QUICK, Ledger, create_topic, kafka_member, kstore_member, wait_for_isr

pytestmark = pytest.mark.kafka


@contextmanager
def znodes(connect: str, **options: Any) -> Iterator[KazooClient]:
    client = KazooClient(connect, **options)
    client.start(10)
    try:
        yield client
    finally:
        client.stop()
        client.close()


def nameless(directory: Path, name: str, zookeeper: ZooKeeper, **extra: str) -> KstoreServer:
    """A broker without broker.id."""
    overrides = QUICK | {"zookeeper.connect": zookeeper.connect} | {k.replace("_", "."): v for k, v in extra.items()}
    return KstoreServer(directory / name, overrides=overrides)


def properties_of(broker: KstoreServer) -> dict[str, str]:
    lines = (broker.log_directory / "meta.properties").read_text().split()
    return dict(line.split("=", 1) for line in lines)


# --- ids ---


def test_a_broker_without_an_id_gets_one_that_nobody_had_and_keeps_it(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = nameless(tmp_path, "one", zookeeper_of_its_own), nameless(tmp_path, "two", zookeeper_of_its_own)
    kafka = kafka_member(tmp_path, -1, zookeeper_of_its_own)
    with znodes(zookeeper_of_its_own.connect) as client, one, two:
        assert [properties_of(broker)["broker.id"] for broker in (one, two)] == ["1001", "1002"]
        # Kafka's next id is from the same sequence.
        with kafka:
            assert sorted(client.get_children("/brokers/ids")) == ["1001", "1002", "1003"]
            create_topic([one], "orders", [[1001, 1003]])
            wait_for_isr([one], "orders", {1001, 1003})
        one.stop()
        one.start()
        assert properties_of(one) == {"cluster.id": cluster_id(client), "broker.id": "1001", "version": "0"}
        assert client.exists("/brokers/ids/1001")


def test_made_up_ids_begin_where_the_given_ones_end(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    with nameless(tmp_path, "one", zookeeper_of_its_own, reserved_broker_max_id="5") as broker:
        assert properties_of(broker)["broker.id"] == "6"


def test_without_an_id_and_without_making_one_up_there_is_no_start(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    broker = nameless(tmp_path, "one", zookeeper_of_its_own, broker_id_generation_enable="false")
    with pytest.raises(JudgeError, match=r"broker\.id: none is given, and broker\.id\.generation\.enable is false"):
        broker.start()
    assert not (broker.log_directory / "meta.properties").exists()


def test_an_id_that_another_broker_has_is_refused_by_name(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    # The session of the one before may be ending: it is waited for twice as long as that takes.
    quick = {"zookeeper.session.timeout.ms": "1000"}
    second = kstore_member(tmp_path / "second", 1, zookeeper_of_its_own, quick)
    with (
        kstore_member(tmp_path / "first", 1, zookeeper_of_its_own) as first,
        znodes(zookeeper_of_its_own.connect) as client,
    ):
        before = client.get("/brokers/ids/1")
        with pytest.raises(
            JudgeError, match=r"znode /brokers/ids/1 belongs to another process: two brokers have the id 1"
        ):
            second.start()
        assert client.get("/brokers/ids/1") == before
        assert first.is_running


def test_a_directory_of_another_cluster_is_refused_and_left_alone(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    with kstore_member(tmp_path, 1, zookeeper_of_its_own) as broker:
        broker.stop()
        file = broker.log_directory / "meta.properties"
        other = file.read_text().replace(properties_of(broker)["cluster.id"], "another-cluster")
        file.write_text(other)
        with pytest.raises(JudgeError, match=r"belongs to cluster another-cluster, and zookeeper\.connect leads to"):
            broker.start()
        assert file.read_text() == other


def cluster_id(client: KazooClient) -> str:
    return str(json.loads(client.get("/cluster/id")[0])["id"])


# --- addresses ---


def test_the_first_of_several_members_may_be_away_and_a_chroot_is_made(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    connect = f"127.0.0.1:{free_port()},{zookeeper_of_its_own.connect}/clusters/one"
    broker = kstore_member(tmp_path, 1, zookeeper_of_its_own, {"zookeeper.connect": connect})
    with broker, znodes(zookeeper_of_its_own.connect) as client:
        create_topic([broker], "orders", [[1]])
        assert client.get_children("/clusters/one/brokers/ids") == ["1"]
        assert client.get_children("/clusters/one/brokers/topics") == ["orders"]
        assert sorted(client.get_children("/")) == ["clusters", "zookeeper"]


def test_why_nobody_answers_is_told_of_each_member(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    connect = ",".join(f"127.0.0.1:{port}" for port in ports)
    overrides = {"broker.id": "1", "zookeeper.connect": connect, "zookeeper.connection.timeout.ms": "500"}
    broker = KstoreServer(tmp_path / "kstore", overrides=overrides)
    refused = "; ".join(f"127.0.0.1:{port} Connection refused" for port in ports)
    with pytest.raises(JudgeError, match=f"gave no answer within 500 ms: {refused}"):
        broker.start()


# --- logins ---


def acl_of(client: KazooClient, path: str) -> set[tuple[str, str, int]]:
    return {(acl.id.scheme, acl.id.id, acl.perms) for acl in client.get_acls(path)[0]}


ALL, READ = 31, 1
WORLD_READS = ("world", "anyone", READ)


@pytest.mark.slow
def test_znodes_belong_to_the_brokers_of_one_login_kafkas_too(tmp_path: Path) -> None:
    login = client_login(tmp_path / "client.conf", "kafka", "secret")
    flag = f"-Djava.security.auth.login.config={login}"
    with SaslZooKeeper(tmp_path / "zookeeper", "kafka", "secret") as zookeeper:
        secure = {"zookeeper.set.acl": "true"}
        ours = kstore_member(tmp_path, 1, zookeeper, secure)
        ours.environment = {"KAFKA_OPTS": flag}
        theirs = KafkaBroker(
            "3.9.1",
            tmp_path / "kafka-2",
            zookeeper=zookeeper,
            node_id=2,
            overrides=QUICK | secure,
            heap="256m",
            jvm_flags=(*QUICK_JVM, flag),
        )
        with ours, theirs, znodes(zookeeper.connect) as nobody:
            create_topic([ours, theirs], "orders", [[1, 2], [2, 1]])
            wait_for_isr([ours], "orders", {1, 2})
            ledger = Ledger([ours], "orders")
            ledger.produce(100)
            ledger.flush()
            assert not ledger.failed
            owned = ("sasl", "kafka", ALL)
            for path in ("/brokers/ids/1", "/brokers/topics/orders", "/controller", "/config/topics/orders"):
                assert acl_of(nobody, path) == {owned, WORLD_READS}, path
            # As Kafka gives them to its own.
            assert acl_of(nobody, "/brokers/ids/2") == {owned, WORLD_READS}
            assert acl_of(nobody, "/consumers") == {("world", "anyone", ALL)}
            with pytest.raises(NoAuthError):
                nobody.set("/controller_epoch", b"99")
            with pytest.raises(NoAuthError):
                nobody.get_children("/config/users")


@pytest.mark.slow
def test_a_wrong_password_is_told_as_that(tmp_path: Path) -> None:
    login = client_login(tmp_path / "client.conf", "kafka", "wrong")
    with SaslZooKeeper(tmp_path / "zookeeper", "kafka", "secret") as zookeeper:
        broker = kstore_member(tmp_path, 1, zookeeper, {"zookeeper.connection.timeout.ms": "3000"})
        broker.environment = {"KAFKA_OPTS": f"-Djava.security.auth.login.config={login}"}
        with pytest.raises(JudgeError, match="the login in KAFKA_OPTS is refused"):
            broker.start()


# --- certificates ---


def tls_options(keystore: Path | None, trust: Path) -> dict[str, str]:
    options = {
        "zookeeper.ssl.client.enable": "true",
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.ssl.truststore.location": str(trust),
        "zookeeper.ssl.truststore.type": "PEM",
        "zookeeper.connection.timeout.ms": "5000",
    }
    if keystore is not None:
        options |= {"zookeeper.ssl.keystore.location": str(keystore), "zookeeper.ssl.keystore.type": "PEM"}
    return options


@pytest.mark.slow
def test_brokers_with_certificates_share_a_cluster_with_kafka(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    keystore = authority.sign("broker")
    options = tls_options(keystore, authority.trust) | {"zookeeper.set.acl": "true"}
    with TlsZooKeeper(tmp_path / "zookeeper", authority) as zookeeper:
        ours = kstore_member(tmp_path, 1, zookeeper, options)
        theirs = KafkaBroker(
            "3.9.1", tmp_path / "kafka-2", zookeeper=zookeeper, node_id=2, overrides=QUICK | options, heap="256m"
        )
        with ours, theirs, znodes(zookeeper.plain) as nobody:
            create_topic([ours, theirs], "orders", [[1, 2], [2, 1]])
            wait_for_isr([ours], "orders", {1, 2})
            assert acl_of(nobody, "/brokers/ids/1") == {("x509", "CN=broker", ALL), WORLD_READS}
            assert acl_of(nobody, "/brokers/ids/2") == {("x509", "CN=broker", ALL), WORLD_READS}
            with pytest.raises(NoAuthError):
                nobody.set("/controller_epoch", b"99")


@pytest.mark.slow
def test_a_zookeeper_that_cannot_be_believed_is_told_as_that(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "tls"), Authority(tmp_path / "other", "stranger")
    with TlsZooKeeper(tmp_path / "zookeeper", authority) as zookeeper:
        broker = kstore_member(tmp_path, 1, zookeeper, tls_options(authority.sign("broker"), stranger.trust))
        with pytest.raises(JudgeError, match="certificate verify failed"):
            broker.start()
        unknown = kstore_member(tmp_path, 2, zookeeper, tls_options(None, authority.trust))
        with pytest.raises(JudgeError, match=r"zookeeper\.connect: .* gave no answer within 5000 ms: .*certificate"):
            unknown.start()
        assert os.listdir(broker.log_directory) == [".lock"]
