"""ZooKeeper, where a cluster agrees on what it is, in dependency order: paths, security, reach, session,
store."""
