"""CreateTopics against a live broker."""

import os

import pytest

from kstore.log.topic_keys import TOPIC_KEYS
from kstore.model import ZERO_UUID
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.metadata import MetadataRequest

NONE, INVALID_TOPIC, TOPIC_EXISTS, INVALID_PARTITIONS, INVALID_FACTOR = 0, 17, 36, 37, 38
INVALID_ASSIGNMENT, INVALID_CONFIG, INVALID_REQUEST, POLICY_VIOLATION = 39, 40, 42, 44
VERSIONS = range(8)


def topic(name, partitions=1, factor=1, *, assignments=None, **configs):
    return CreateTopicsRequest.CreatableTopic(
        name=name,
        num_partitions=-1 if assignments else partitions,
        replication_factor=-1 if assignments else factor,
        assignments=[
            CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=brokers)
            for index, brokers in assignments or ()
        ],
        configs=[
            CreateTopicsRequest.CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )


def create(client, *topics, version=7, **options):
    answer = client.ask(CreateTopicsRequest(topics=list(topics), **options), version)
    return {result.name: result for result in answer.topics}


def partitions_of(client, name):
    answer = client.ask(
        MetadataRequest(topics=[MetadataRequest.MetadataRequestTopic(name=name)], allow_auto_topic_creation=False), 12
    )
    return len(answer.topics[0].partitions)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_topic_is_made_in_every_version(client, version):
    name = f"made.{version}"
    result = create(client, topic(name, 2), version=version)[name]
    assert result.error_code == NONE
    assert partitions_of(client, name) == 2
    if version >= 5:
        assert (result.num_partitions, result.replication_factor) == (2, 1)
        assert [config.name for config in result.configs] == sorted(TOPIC_KEYS)


def test_the_answer_holds_the_id_that_metadata_tells(client):
    result = create(client, topic("has.an.id"))["has.an.id"]
    described = client.ask(MetadataRequest(topics=None), 12).topics
    assert {each.name: each.topic_id for each in described}["has.an.id"] == result.topic_id != ZERO_UUID


def test_the_answer_holds_the_configuration_and_where_it_comes_from(client):
    result = create(client, topic("configured", retention_ms="1234"))["configured"]
    configs = {config.name: (config.value, config.config_source) for config in result.configs}
    assert configs["retention.ms"] == ("1234", 1)
    assert configs["segment.bytes"] == ("1073741824", 5)


def test_the_answer_holds_values_as_they_were_given(client):
    result = create(client, topic("as.given", min_cleanable_dirty_ratio="1", retention_ms=" 7 "))["as.given"]
    configs = {config.name: config.value for config in result.configs}
    assert (configs["min.cleanable.dirty.ratio"], configs["retention.ms"]) == ("1", " 7 ")


def test_each_topic_of_a_request_has_its_own_outcome(client):
    create(client, topic("was.there"))
    results = create(
        client,
        topic("fine"),
        topic("was.there"),
        topic("not/fine"),
        topic("no.partitions", 0),
        topic("no.replicas", 1, 0),
        topic("too.many.replicas", 1, 2),
        topic("unknown.key", retention="1"),
        topic("bad.value", retention_ms="soon"),
    )
    assert {name: result.error_code for name, result in results.items()} == {
        "fine": NONE,
        "was.there": TOPIC_EXISTS,
        "not/fine": INVALID_TOPIC,
        "no.partitions": INVALID_PARTITIONS,
        "no.replicas": INVALID_FACTOR,
        "too.many.replicas": INVALID_FACTOR,
        "unknown.key": INVALID_CONFIG,
        "bad.value": INVALID_CONFIG,
    }
    assert all(result.error_message for result in results.values() if result.error_code)
    assert "retention.ms" in results["bad.value"].error_message
    assert partitions_of(client, "fine") == 1


def test_a_name_that_is_given_twice_is_made_not_once(client):
    results = create(client, topic("twice"), topic("once"), topic("twice", 2))
    assert (results["twice"].error_code, results["once"].error_code) == (INVALID_REQUEST, NONE)
    assert partitions_of(client, "twice") == 0


def test_a_name_with_a_dot_collides_with_one_with_an_underscore(client):
    create(client, topic("dot.dot"))
    results = create(client, topic("dot_dot"), topic("x.y"), topic("x_y"))
    codes = {name: result.error_code for name, result in results.items()}
    # Kafka looks at the topics that are there, not at those of the same request.
    assert codes == {"dot_dot": INVALID_TOPIC, "x.y": NONE, "x_y": NONE}


def test_the_metadata_log_is_no_topic(client):
    results = create(client, topic("__cluster_metadata"), topic("beside.it"))
    codes = {name: result.error_code for name, result in results.items()}
    assert codes == {"__cluster_metadata": INVALID_REQUEST, "beside.it": NONE}


def test_minus_one_asks_for_the_brokers_defaults(start_broker):
    client = start_broker(overrides={"num.partitions": "5"}).connect()
    result = create(client, topic("default", -1, -1))["default"]
    assert (result.error_code, result.num_partitions, result.replication_factor) == (NONE, 5, 1)


def test_a_topic_may_be_assigned(broker, client):
    own = broker.app.context.node_id
    result = create(client, topic("assigned", assignments=[(1, [own]), (0, [own])]))["assigned"]
    assert (result.error_code, result.num_partitions, result.replication_factor) == (NONE, 2, 1)


@pytest.mark.parametrize(
    "assignments",
    [[(0, [1]), (2, [1])], [(0, [77])], [(0, [])], [(0, [1, 1])], [(0, [1]), (0, [1])], [(0, [1]), (1, [1, 2])]],
    ids=["gap", "unknown broker", "empty", "broker twice", "partition twice", "unequal"],
)
def test_assignments_that_make_no_sense_are_refused(client, assignments):
    result = create(client, topic("badly.assigned", assignments=assignments))["badly.assigned"]
    assert result.error_code == INVALID_ASSIGNMENT
    assert partitions_of(client, "badly.assigned") == 0


def test_counts_beside_assignments_are_refused(client):
    wish = topic("both", assignments=[(0, [1])])
    wish.num_partitions = 1
    assert create(client, wish)["both"].error_code == INVALID_REQUEST


def test_null_is_no_value(client):
    assert create(client, topic("null", retention_ms=None))["null"].error_code == INVALID_CONFIG


@pytest.mark.parametrize("version", range(1, 8))
def test_validating_makes_nothing(broker, client, version):
    name = f"only.asked.{version}"
    results = create(client, topic(name, 3), topic("a/b"), validate_only=True, version=version)
    assert (results[name].error_code, results["a/b"].error_code) == (NONE, INVALID_TOPIC)
    assert results[name].topic_id == ZERO_UUID
    assert partitions_of(client, name) == 0
    assert not any(entry.startswith(name) for entry in os.listdir(broker.config.log_dirs[0]))


def test_too_much_for_one_request_is_refused_whole(client):
    results = create(client, *(topic(f"large.{index}", 2500) for index in range(5)))
    assert {result.error_code for result in results.values()} == {POLICY_VIOLATION}
    assert partitions_of(client, "large.0") == 0


def test_no_topics_is_no_fault(client):
    assert create(client) == {}


def test_a_topic_lives_on_after_a_restart(start_broker):
    first = start_broker()
    topic_id = first.connect().create_topic("stays", 3, retention_ms="77")
    first.stop()
    client = start_broker().connect()
    (described,) = client.ask(MetadataRequest(topics=None), 12).topics
    assert (described.name, described.topic_id, len(described.partitions)) == ("stays", topic_id, 3)


def test_partitions_spread_over_the_log_directories(start_broker, tmp_path):
    directories = [tmp_path / name for name in ("a", "b", "c")]
    broker = start_broker(",".join(map(str, directories)))
    broker.connect().create_topic("spread", 9)
    held = [[each for each in os.listdir(where) if each.startswith("spread-")] for where in directories]
    assert [len(names) for names in held] == [3, 3, 3]
    # What the metadata says is where the partition lies.
    ids = broker.call(lambda app: app.logs.directory_ids)
    image = broker.call(lambda app: app.context.topics.image)
    for where, names in zip(directories, held, strict=True):
        for name in names:
            partition = image.topics["spread"].partitions[int(name.rpartition("-")[2])]
            assert partition.directories == (ids[str(where)],)
