"""Our own declarations of Kafka's messages, one table an API."""
