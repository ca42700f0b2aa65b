"""Java's String.hashCode, by which Kafka spreads names over partitions."""
