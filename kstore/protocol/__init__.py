"""Kafka's messages as tables and their framing, in dependency order: api_keys, schema, messages, headers,
framing."""
