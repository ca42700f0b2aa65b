"""One partition's log on disk, in dependency order: config, checkpoint_file, leader_epoch, producer_state,
transaction_index, segment, segments, append, retention, recovery, partition_log, memory_log, manager."""
