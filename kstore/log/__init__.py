"""One partition's log on disk, in dependency order: topic_keys, config, checkpoint_file, directory, log_dir,
leader_epoch, transaction_index, producer_state, segment, segments, append, retention, flush, recovery,
partition_log, work, dir_lock, meta_properties, manager."""
