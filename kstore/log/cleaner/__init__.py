"""Compaction: of all records with the same key the last one stays, in dependency order: config, throttle, steps,
cleanable, groups, transactions, cleaning, cleaner.

A log is clean up to an offset and dirty from there on. A cleaning reads the keys of the dirty part into a map of
bounded size, then copies all segments up to where the map ends, leaving out what the map knows a later record for, and
puts the copies in the place of the segments. Which log and which part is decided on the thread that owns the logs, and
there the segments are exchanged; the reading and copying is done by any other thread, slice by slice.

What is never compacted: the segment that is appended to, what lies at or above the last stable offset, what is not on
the disk for good, and what is younger than `min.compaction.lag.ms` (LogCleaner.scala, LogCleanerManager.scala; KIP-58,
KIP-354, KIP-534).
"""
