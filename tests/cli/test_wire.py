"""What brokers say to our own messages, as the commands take it."""

from types import SimpleNamespace

import pytest

from kstore.cli.errors import CommandError
from kstore.cli.wire import Wire
from kstore.protocol.messages.metadata import MetadataResponse


def wire_that_hears(*topics: MetadataResponse.MetadataResponseTopic) -> Wire:
    wire = object.__new__(Wire)
    wire._bootstrap = "h:1"
    answer = MetadataResponse(topics=list(topics))
    wire._link = SimpleNamespace(ask=lambda request, version: answer)  # type: ignore[assignment]
    return wire


@pytest.mark.parametrize(
    ("code", "said"),
    [(3, "orders: there is no such topic"), (17, "orders: no topic can have this name"), (29, "orders: not")],
)
def test_a_topic_that_the_cluster_says_nothing_of_is_an_error(code: int, said: str) -> None:
    """A name that no topic can have had `elect` say that there is nothing to do."""
    with pytest.raises(CommandError, match=said):
        wire_that_hears(MetadataResponse.MetadataResponseTopic(name="orders", error_code=code)).metadata(["orders"])


def test_a_topic_without_leaders_is_there() -> None:
    part = MetadataResponse.MetadataResponsePartition(error_code=5, partition_index=0, leader_id=-1)
    topic = MetadataResponse.MetadataResponseTopic(name="orders", error_code=5, partitions=[part])
    assert wire_that_hears(topic).metadata(["orders"]).topics == [topic]
