"""Typed doors to the C core, in dependency order: status, buffer, batch, builder, records, index, wire,
hot_messages, connection."""
