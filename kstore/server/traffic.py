"""What was written to and read from each topic since the start, as Kafka counts it (BrokerTopicStats.java)."""


class TopicTraffic:
    """Plain counters: they are raised on the hot path."""

    __slots__ = ("bytes_in", "bytes_out", "failed_fetches", "failed_produces", "fetches", "messages_in", "produces")

    def __init__(self) -> None:
        # Bytes of batches, as they are stored; `produces` and `fetches` count partitions of requests.
        self.messages_in = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.produces = 0
        self.failed_produces = 0
        self.fetches = 0
        self.failed_fetches = 0


class Traffic(dict[str, TopicTraffic]):
    """By topic. Only topics that exist are asked for, so that clients cannot grow it."""

    def __missing__(self, topic: str) -> TopicTraffic:
        found = self[topic] = TopicTraffic()
        return found
