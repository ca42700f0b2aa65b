"""ZooKeeper, where a cluster agrees on what it is, in dependency order: paths, log_dir_events, session, fencing, store,
configs, wishes."""
