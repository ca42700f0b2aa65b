"""Typed doors to the C core, in dependency order: _os_build, _os, checksum, compression, status, buffer, batch,
builder, records, index, wire, hot_messages, connection."""
