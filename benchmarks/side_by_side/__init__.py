"""Kafka and kstore side by side on this machine: `make bench-kafka`. See README.md here for the rules.

Files, each importing only from those above it: statistics, machine, brokers, load, cells, report, cluster,
prober, sendfile, cluster_cells, __main__.
"""
