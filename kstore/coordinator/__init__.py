"""Groups of consumers, in dependency order: timers, group.

A coordinator decides: a request, the time and what it knows give records to be written, answers, and deadlines.
It holds no clock, no socket and no log; `server` writes the records and tells how that went.
"""
