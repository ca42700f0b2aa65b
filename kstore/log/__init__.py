"""One partition's log on disk, in dependency order: topic_keys, config, files, checkpoint_file, directory,
memory_directory, offset_checkpoint, rarely, log_dir, leader_epoch, transaction_index, producer_entry,
producer_snapshots, producer_state, refused_appends, segment_files, segment_reader, segment, damaged_end, segments,
twins, append, retention, flush, replay, recovery, split, loading, log_state, log_reader, log_writer, partition_log,
memory_log, cleaner, work, checkpoints, dir_lock, meta_properties, log_dirs, parallel, load_dirs, incarnation,
log_moves, log_table, manager."""
