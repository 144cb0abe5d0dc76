"""``python -m ferryman`` is the ``ferryman`` command."""

from ferryman.cli import main

if __name__ == "__main__":
    main()
