"""Reading log directories without a broker, in dependency order: files, decode, batches, rows,
small_files, dump, findings, index_check, producers_check, segment_check, partition_check, owner, metadata_check,
directory_check, verify.

Nothing here writes, locks or opens for writing: a broker may run on the directory meanwhile. Memory is bounded by a
batch and a chunk, not by a segment.
"""
