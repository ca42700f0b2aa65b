"""Whole clusters in one thread, from one seed: the broker's own classes over simulated time, network, ZooKeeper, disk.

    python -m tests.sim 20000:30000         many seeds, on both cores; goes on where it was stopped
    python -m tests.sim --story 20017       one seed, told
    python -m tests.sim --log 20017         the same, with what the brokers log

In dependency order: loop (virtual time, processes), network, zookeeper, kazoo_client, disk, listeners (the edges that
are replaced); broker, clients, admin; invariants, ledger (what must hold); plan, faults (what goes wrong);
surroundings, world, shrink. Nothing in kstore knows of it: brokers are built by `kstore.server.app`.
"""
