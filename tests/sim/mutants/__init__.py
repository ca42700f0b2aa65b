"""Rules of replication broken one by one, to see that the simulator, or a named test, finds each.

    python -m tests.sim.mutants                 all of them, and the table
    python -m tests.sim.mutants 16 21a          some of them

In dependency order: mutant (how a rule is broken), rules (which), __main__ (the search and the table).
"""
