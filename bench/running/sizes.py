"""Sizes in bytes, as messages of the runner word them."""


def amount(count: int) -> str:
    """``3.2 GiB``, ``640 MiB``."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
