"""Bench: measured answers about transfer learning with Keras' pretrained image models.

frame = bench.load("results/quickstart")    a pandas DataFrame, see `bench.analysis.frames`
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load"]

if TYPE_CHECKING:
    from bench.analysis.frames import load as load
else:

    def __getattr__(name: str) -> object:
        """``load``, imported when first asked for: the command line must answer at once."""
        if name == "load":
            from bench.analysis.frames import load

            return load
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
