"""The command `kstore`: clients of a running broker, and a reader of log directories that needs none, in dependency
order: errors, output, arguments, logs, log, connection, topics, main."""
