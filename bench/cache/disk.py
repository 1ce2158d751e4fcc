"""Content that survives a power cut, as far as the file system lets it."""

import errno
import os
from pathlib import Path

_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems say that know no such call, some network and user-space ones among them."""


def to_disk(path: Path) -> None:
    """Have the content of a file, or the names in a folder, survive a power cut.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # names may be added that may not be listed
            return
        raise
    try:
        synced(descriptor)
    finally:
        os.close(descriptor)


def synced(descriptor: int) -> None:
    """The same for an open file or folder.

    Raises:
        OSError: the disk did not take it.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
