"""Replicas of a partition, in dependency order: effects, high_watermark, isr, replica_state, truncation, leader,
log_copy, read_replica, throttle, partition, fetch_session, fetcher, manager."""
