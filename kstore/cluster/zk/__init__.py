"""ZooKeeper, where a cluster agrees on what it is, in dependency order: paths, log_dir_events, security, reach,
session, fencing, store, configs, wishes."""
