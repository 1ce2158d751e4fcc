"""``python -m bench`` and the ``bench`` command."""

from bench.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
