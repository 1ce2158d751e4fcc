"""Bad input: what is wrong, and what Bench says of it. `docs/bad_input.md` is made from it."""

import sys
from pathlib import Path

_TESTS = str(Path(__file__).parents[1])
if _TESTS not in sys.path:  # where this is not pytest: the rows of conftest.py are used here, too
    sys.path.insert(0, _TESTS)
