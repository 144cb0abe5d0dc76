"""``ferryman dev``."""


def command() -> None:
    """To come."""
