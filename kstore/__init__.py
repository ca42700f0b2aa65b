"""kstore: the log of Apache Kafka, its files, its wire and its replication, as a small native engine.

The floors, lowest first; a floor imports only floors below it (`tests/test_layering.py` holds this):

0. errors, model, clock, config_def   words shared by all
1. `src/`                             C, without Python
2. _native                            typed doors to C, and the OS calls that Python lacks
3. log, protocol                      one partition on disk; wire messages and framing
4. replica, coordinator, cluster      leader, high watermark; groups; the metadata image and its log
6. server                             sockets, tasks, timers, handlers
"""

__version__ = "0.1.0"
