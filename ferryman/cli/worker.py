"""``ferryman worker``."""


def command() -> None:
    """To come."""
