"""``ferryman bench``."""


def command() -> None:
    """To come."""
