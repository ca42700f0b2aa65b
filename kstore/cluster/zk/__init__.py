"""ZooKeeper, where a cluster agrees on what it is, in dependency order: paths, session, fencing, store, configs,
wishes."""
