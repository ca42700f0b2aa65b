"""Sockets, tasks, timers and handlers; `app` builds every floor below in order and stops them in reverse."""
