"""The classic group protocol, in dependency order: config, requests, results, records, subscription, state,
member, offsets, group, turn, rebalance, writes, joining, membership, cleanup, loading, shard.
"""
