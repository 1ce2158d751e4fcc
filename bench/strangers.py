"""What others made: text that may be printed, and files that are really in their folder."""

from pathlib import Path

LINK_OUT = "a link out of the folder, which is not followed: put the file itself in its place"
"""What to say of a file that is not `inside`."""


def plain(text: str) -> str:
    """Without what a terminal would obey: names of files and classes are somebody else's."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def inside(file: Path, folder: Path) -> bool:
    """Whether a file lies in a folder even after every link on the way to it is followed.

    Args:
        file: at a path below the folder; what is not there at all is inside.
        folder: may itself be reached by a link: whoever names it means it.
    """
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # links in a circle; a name that no file can have
        return False
