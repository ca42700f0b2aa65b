"""Talking to other brokers, in dependency order: connection, broker_client."""
