"""Typed doors to the C core, in dependency order: _os_build, _os, checksum, compression, java_hash, status, buffer,
receive_buffer, record, batch, replicated, builder, file, scan, records, compaction, index_file, index, wire,
hot_messages, durations, connection."""
