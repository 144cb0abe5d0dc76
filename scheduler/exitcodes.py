"""Exit codes of ``ferryman scheduler``: those that ``ferryman worker`` has for the same reasons."""

CLEAN = 0
USAGE = 2
"""The command line or the configuration cannot work."""
NO_APP = 3
"""The module or the app in it cannot be imported."""
STORE_REFUSED = 4
"""Redis refuses the login, or is too old."""
