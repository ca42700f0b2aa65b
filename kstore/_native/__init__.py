"""Typed doors to the C core, in dependency order: status, buffer, batch, builder, index, records, wire,
hot_messages, connection."""
