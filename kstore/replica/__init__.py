"""Replicas of a partition, in dependency order: effects, high_watermark, leader, partition, checkpoint,
manager."""
