"""Replicas of a partition, in dependency order: effects, high_watermark, isr, replica_state, truncation, leader,
partition, fetcher, manager."""
