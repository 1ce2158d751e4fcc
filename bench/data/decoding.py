"""Encoded bytes -> RGB pixels: one decoder (Pillow) for every source and every Keras backend.

Each picture becomes a square by stretching, never by cropping, with antialiased bilinear
interpolation (Pillow's ``BILINEAR``, whose filter widens with the reduction). This differs
slightly from ``tf.image.resize``, which does not antialias unless asked to.
"""

import io
import string
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

DECODING_VERSION = 1
"""Part of every cache key. Raised whenever the same bytes would give other pixels."""

# Pillow can also open formats that start other programs (EPS): only what pictures are made of.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")

_PNG = b"\x89PNG\r\n\x1a\n"

LARGEST_FILE = 2**29
"""Bytes; twice what a picture of Pillow's limit takes without any compression."""

_DRAFT_MARGIN = 2  # the JPEG decoder's own reduction stays this many times above the final size


class UnreadablePictureError(Exception):
    """One picture cannot be decoded; its text is the reason. Callers report it and go on."""


def decode(encoded: bytes, size: int) -> NDArray[np.uint8]:
    """Decode one picture.

    Grey, palette, CMYK and 16-bit pictures become RGB; transparent ones lie on white; of an
    animation the first frame counts; EXIF orientation is applied.

    Args:
        encoded: the content of a JPEG, PNG, BMP, GIF, WebP or TIFF file.
        size: pixels of each side of the result.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        UnreadablePictureError: empty, truncated, not a picture, or too large to be safe.
    """
    from PIL import Image, UnidentifiedImageError

    if not encoded:
        raise UnreadablePictureError("the file is empty")
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as picture:
            _refuse_bomb(picture)
            if picture.format == "JPEG":
                picture.draft("RGB", (_DRAFT_MARGIN * size, _DRAFT_MARGIN * size))
            picture.load()
            rgb = _to_rgb(_upright(picture))
            return np.asarray(rgb.resize((size, size), Image.Resampling.BILINEAR))
    except UnreadablePictureError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(str(error).rstrip(".")) from error
    except UnidentifiedImageError as error:
        if encoded.startswith(_PNG):
            raise UnreadablePictureError("damaged (a PNG whose header cannot be read)") from error
        raise UnreadablePictureError(f"not a picture: {_beginning(encoded)}") from error
    # Pillow's plugins raise nearly anything on damaged files: struct.error, SyntaxError, ...
    except Exception as error:
        raise UnreadablePictureError(f"damaged ({type(error).__name__}: {error})") from error


def _refuse_bomb(picture: "Image.Image") -> None:
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    # Pillow only warns between its limit and twice that.
    if limit is not None and picture.width * picture.height > limit:
        raise UnreadablePictureError(
            f"{picture.width} x {picture.height} pixels exceed Pillow's limit of {limit} "
            "(could be a decompression bomb)"
        )


def _upright(picture: "Image.Image") -> "Image.Image":
    from PIL import ImageOps

    # Damaged EXIF data are no reason to lose a good picture.
    with suppress(Exception):
        return ImageOps.exif_transpose(picture)
    return picture


def _to_rgb(picture: "Image.Image") -> "Image.Image":
    from PIL import Image

    if picture.mode.startswith("I"):
        return _from_16_bits(picture)
    if picture.mode == "F":
        raise UnreadablePictureError("floating-point pixels have no known range")
    if picture.has_transparency_data:
        opaque = Image.new("RGBA", picture.size, "white")
        opaque.alpha_composite(picture.convert("RGBA"))
        return opaque.convert("RGB")
    return picture.convert("RGB")


def _from_16_bits(picture: "Image.Image") -> "Image.Image":
    """Pillow's own conversion clips at 255, which turns 16-bit pictures white."""
    from PIL import Image

    wide = np.asarray(picture).astype(np.int64)
    if wide.min() < 0 or wide.max() > 65535:
        raise UnreadablePictureError("32-bit pixels have no known range")
    return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")


def _beginning(encoded: bytes) -> str:
    text = "".join(c for c in encoded[:20].decode("ascii", "replace") if c in string.printable)
    return f"{len(encoded)} bytes beginning with {text.strip()!r}"
