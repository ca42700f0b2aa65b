"""The library's face, in dependency order: options, message, partitioner, guard, closing, ram, host, batch, reader,
sending, readable, readonly, single, log, aio, adoption, store, broker."""
