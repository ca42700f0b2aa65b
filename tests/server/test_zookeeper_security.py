"""How a broker is told to show ZooKeeper who it is: `zookeeper.*` keys, and the JAAS file that Kafka's brokers have."""

from pathlib import Path

import pytest

from kstore.cluster.zk.reach import addresses, why_not
from kstore.cluster.zk.security import NOTHING, Login, Security, Tls, is_everybodys, is_secret
from kstore.errors import ConfigError, InvalidConfigError
from kstore.server.config import ServerConfig
from kstore.server.zookeeper_login import login_from, parse_login
from tests.judge.certificates import Authority
from tests.judge.java import free_port

CLIENT = """
/* all of
   them */
KafkaServer { org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password="b{}"; };
Client {
    org.apache.zookeeper.server.auth.DigestLoginModule required
    username="kafka"   // not admin
    password="se\\"cret; }";
};
"""


@pytest.fixture(autouse=True)
def no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA_OPTS", raising=False)


def member(tmp_path: Path, *lines: str) -> ServerConfig:
    file = tmp_path / "server.properties"
    file.write_text("\n".join(("zookeeper.connect=127.0.0.1:1/kafka", *lines)) + "\n")
    return ServerConfig.from_file(str(file))


def faults(tmp_path: Path, *lines: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        member(tmp_path, *lines)
    return [line.replace(str(tmp_path) + "/", "") for line in str(refusal.value).splitlines()]


def test_a_member_without_more_shows_nothing(tmp_path: Path) -> None:
    assert member(tmp_path).zookeeper_security == NOTHING


# --- broker ids ---


def test_a_member_needs_no_id_of_its_own(tmp_path: Path) -> None:
    assert member(tmp_path).node_id == -1
    assert member(tmp_path, "broker.id=-1").with_node_id(1001).node_id == 1001


def test_ids_that_are_made_up_are_not_given(tmp_path: Path) -> None:
    said = "1001 is above reserved.broker.max.id, 1000: such ids are made up"
    assert faults(tmp_path, "broker.id=1001") == [f"server.properties:2: broker.id: {said}"]
    assert member(tmp_path, "broker.id=1001", "broker.id.generation.enable=false").node_id == 1001
    assert member(tmp_path, "broker.id=1001", "reserved.broker.max.id=2000").node_id == 1001
    assert ServerConfig.from_arguments("/data", 1, ["node.id=5000"]).node_id == 5000


# --- TLS ---


def test_tls_is_told_by_pem_files(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    keystore = authority.sign("broker")
    lines = [
        "zookeeper.ssl.client.enable=true",
        "zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty",
        f"zookeeper.ssl.keystore.location={keystore}",
        f"zookeeper.ssl.truststore.location={authority.trust}",
        "zookeeper.ssl.truststore.type=PEM",
        "zookeeper.set.acl=true",
    ]
    wanted = Tls(str(keystore), None, str(authority.trust), check_hostname=True)
    assert member(tmp_path, *lines).zookeeper_security == Security(wanted, None, set_acl=True)
    careless = member(tmp_path, *lines, "zookeeper.ssl.endpoint.identification.algorithm=").zookeeper_security
    assert careless.tls == wanted._replace(check_hostname=False)
    # What is not enabled is not looked at, as with Kafka.
    assert member(tmp_path, *lines[2:5]).zookeeper_security == NOTHING


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("zookeeper.ssl.keystore.location=/k.jks", "/k.jks does not end in .pem; kstore reads PEM files"),
        ("zookeeper.ssl.keystore.location=/no.pem", "/no.pem: No such file or directory"),
        ("zookeeper.ssl.truststore.location=/no.pem", "/no.pem: No such file or directory"),
        ("zookeeper.ssl.truststore.password=x", "certificates in a PEM file have no password"),
        ("zookeeper.ssl.crl.enable=true", "kstore does not ask whether a certificate was revoked"),
        ("zookeeper.ssl.ocsp.enable=true", "kstore does not ask whether a certificate was revoked"),
        ("zookeeper.ssl.enabled.protocols=TLSv1.1", "kstore offers TLSv1.2 and TLSv1.3"),
        ("zookeeper.ssl.cipher.suites=TLS_AES_128_GCM_SHA256", "those that Python's ssl module does"),
        ("zookeeper.ssl.endpoint.identification.algorithm=LDAPS", "'LDAPS' is neither HTTPS nor empty"),
        ("zookeeper.set.acl=true", "znodes can belong only to somebody"),
        ("zookeeper.metadata.migration.enable=true", "kstore does not do this yet"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_key(tmp_path: Path, line: str, said: str) -> None:
    (fault,) = faults(tmp_path, "zookeeper.ssl.client.enable=true", line)
    assert said in fault


def test_a_file_that_holds_no_key_is_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lines = ["zookeeper.ssl.client.enable=true", f"zookeeper.ssl.keystore.location={authority.trust}"]
    (fault,) = faults(tmp_path, *lines)
    assert fault.startswith(f"server.properties:2: zookeeper.ssl.client.enable: {authority.trust.name}: ")


# --- the login ---


def test_the_login_is_that_of_kafkas_jaas_file(tmp_path: Path) -> None:
    file = tmp_path / "jaas.conf"
    file.write_text(CLIENT)
    options = f"-Xmx1g -Djava.security.auth.login.config={file}"
    assert login_from({"KAFKA_OPTS": options}) == Login("kafka", 'se"cret; }')
    assert login_from({"KAFKA_OPTS": f"{options} -Dzookeeper.sasl.client=false"}) is None
    assert login_from({"KAFKA_OPTS": f"{options} -Dzookeeper.sasl.clientconfig=Other"}) is None
    assert login_from({"KAFKA_OPTS": "-Xmx1g"}) is None
    assert login_from({}) is None


def test_a_login_that_kstore_cannot_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"KAFKA_OPTS names the JAAS file /no: No such file"):
        login_from({"KAFKA_OPTS": "-Djava.security.auth.login.config=/no"})
    with pytest.raises(InvalidConfigError, match=r"f: Client is a login by com\.sun\.Krb5LoginModule"):
        parse_login('Client { com.sun.Krb5LoginModule required keyTab="k"; };', "Client", "f")
    with pytest.raises(InvalidConfigError, match="f: Client has no password"):
        parse_login('Client { DigestLoginModule required username="k"; };', "Client", "f")


def test_a_login_is_enough_for_acls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "jaas.conf"
    file.write_text(CLIENT)
    monkeypatch.setenv("KAFKA_OPTS", f"-Djava.security.auth.login.config={file}")
    security = member(tmp_path, "zookeeper.set.acl=true").zookeeper_security
    assert security == Security(None, Login("kafka", 'se"cret; }'), set_acl=True)


# --- znodes and members ---


def test_secrets_are_for_their_maker_alone() -> None:
    assert is_secret("/config/users/alice")
    assert is_secret("/config/brokers")
    assert not is_secret("/config/topics/users")
    assert is_everybodys("/consumers")
    assert not is_everybodys("/brokers")


def test_members_are_read_from_the_connect_string() -> None:
    assert addresses("a:1,[::1]:2, c,[::2]/chroot/x") == [("a", 1), ("::1", 2), ("c", 2181), ("::2", 2181)]


def test_each_member_is_told_with_what_stands_in_the_way() -> None:
    port = free_port()
    assert why_not(f"127.0.0.1:{port}/x", None) == f"127.0.0.1:{port} Connection refused"
