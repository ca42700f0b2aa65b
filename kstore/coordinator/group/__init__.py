"""The classic group protocol, in dependency order: config, requests, results, state, subscription, member, records,
offsets, group, turn, rebalance, joining, membership, committing, cleanup, loading, shard.
"""
