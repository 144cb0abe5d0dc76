"""``ferryman workers``."""


def command() -> None:
    """To come."""
