"""Java's String.hashCode, by which Kafka spreads names over partitions."""

def java_hash(text: str) -> int:
    """In [-2^31, 2^31)."""
