"""The command `kstore`: clients of a running broker, and a reader of log directories that needs none, in dependency
order: errors, output, connection, completion, arguments,
logs, log, offsets, records, wire, placement, elect, reassign, topics, registrations,
cluster, produce, consume, groups, shell, main."""
