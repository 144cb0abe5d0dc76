"""The tests; a package, so that the support modules have one name for every tool."""
