"""Checks of this repository that no library does; `make check` runs them."""
