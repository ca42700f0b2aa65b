"""Talking to other brokers, in dependency order: fetch_answer, connection, broker_client."""
