"""Exit codes of ``ferryman worker``, and of its processes, for service managers and scripts."""

CLEAN = 0
"""Ended in good order: every job that had begun has ended."""
BROKEN_OFF = 1
"""Ended, but jobs that were running had to be broken off. They were given back, uncharged, and run elsewhere
or later.
"""
USAGE = 2
"""The command line or the configuration cannot work."""
NO_APP = 3
"""The module or the app in it cannot be imported."""
STORE_REFUSED = 4
"""Redis refuses the login, or is too old."""
NEVER_READY = 5
"""Worker processes die before they are ready, again and again; what they wrote says why."""

RECYCLED = 79
"""Of a single process, seen by its supervisor only: it has done its share, or grown too large, and was
replaced.
"""
