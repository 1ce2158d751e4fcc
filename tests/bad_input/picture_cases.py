"""Pictures that are damaged, or only odd."""

# ruff: noqa: E501 - one case a line

import io
import struct
import zlib

import numpy as np
from PIL import Image

from .cases import Accepted, Case
from .making import also, both, encoded, linked, pictures, pipe, text

AREA = "pictures"
LOOK = ("data", "pets", "--backbone", "none")
GOOD = "8 pictures"
"""Of the two classes beside the odd one."""


def _left_out(id_: str, name: str, content: bytes, *says: str) -> Accepted:
    return Accepted(id_, AREA, LOOK, (GOOD, name, *says), also(f"cat/{name}", content))


def _works(id_: str, name: str, content: bytes, *says: str) -> Accepted:
    return Accepted(id_, AREA, LOOK, ("9 pictures", *says), also(f"cat/{name}", content))


def _animated(form: str) -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (24, 24), c) for c in ("red", "blue", "green")]
    frames[0].save(stream, form, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def _sixteen_bits() -> bytes:
    stream = io.BytesIO()
    wide = np.linspace(0, 65535, 576).astype(np.uint16).reshape(24, 24)
    Image.fromarray(wide).save(stream, "PNG")
    return stream.getvalue()


def _claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims to be of this size; there are no pixels in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _text_bomb() -> bytes:
    """A PNG with a compressed text of 100 MB."""
    png = encoded()
    data = b"comment\0\0" + zlib.compress(b"a" * 100_000_000, 9)
    chunk = (
        struct.pack(">I", len(data))
        + b"zTXt"
        + data
        + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    )
    return png[:33] + chunk + png[33:]


JPEG = encoded("JPEG", size=(200, 200))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
PALETTE = encoded("PNG", "P", colour=0, transparency=0)

CASES = (
    Case("predict-no-pictures", AREA, ("predict", "model.keras", "pets"), ("pets",), ("expected",), text("pets/a.txt", "x")),
    Case("predict-picture-not-there", AREA, ("predict", "model.keras", "gone.jpg"), ("gone.jpg",), ("no such file or folder",)),
    Case("all-pictures-cut-off", AREA, LOOK, ("none of its pictures can be read",), ("a.jpg",),
         both(text("pets/cat/a.jpg", JPEG[:300]), text("pets/dog/a.jpg", JPEG[:300])), caches=True),
)  # fmt: skip

ACCEPTED = (
    _left_out("cut-off", "cut.jpg", JPEG[: len(JPEG) // 2], "truncated"),
    _left_out("cut-off-in-its-header", "cut.png", encoded()[:20]),
    _left_out("zero-bytes", "none.jpg", b"", "the file is empty"),
    _left_out("nothing-but-zeros", "zeros.jpg", bytes(5000), "not a picture"),
    _left_out("web-page-saved-as-jpg", "page.jpg", b"<!DOCTYPE html><html>404</html>", "not a picture", "<!DOCTYPE"),
    _left_out("svg-named-png", "vector.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not a picture"),
    _left_out("postscript-named-jpg", "program.jpg", EPS, "not a picture"),
    _left_out("bomb-of-40-gigapixels", "bomb.png", _claiming(200_000, 200_000), "exceeds limit"),
    _left_out("bomb-below-twice-the-limit", "bomb.png", _claiming(10_000, 10_000), "decompression bomb"),
    _left_out("bomb-of-text", "text.png", _text_bomb(), "Decompressed data too large"),
    _left_out("wrong-checksum", "bad.png", encoded()[:40] + b"\xff\xff" + encoded()[42:], "damaged (a PNG"),
    _left_out("floating-point", "float.tiff", encoded("TIFF", "F", colour=0.5), "floating-point pixels"),
    Accepted("pipe", AREA, LOOK, (GOOD, "x.jpg", "not a regular file"), both(pictures("cat", "dog"), pipe("pets/cat/x.jpg"))),
    Accepted("folder-named-jpg", AREA, LOOK, (GOOD,), both(pictures("cat", "dog"), text("pets/cat/x.jpg/note", "x"))),
    Accepted("device", AREA, LOOK, (GOOD, "x.jpg"), both(pictures("cat", "dog"), linked("pets/cat/x.jpg", "/dev/zero"))),
    Accepted("no-permission", AREA, LOOK, ("7 pictures", "cat/1.png", "Permission denied"), pictures("cat", "dog"), denied=("pets/cat/1.png",)),
    _works("20-000-pixels-wide", "wide.png", encoded(size=(20_000, 30))),
    _works("20-000-pixels-high", "high.jpg", encoded("JPEG", size=(10, 20_000))),
    _works("one-pixel", "dot.png", encoded(size=(1, 1))),
    _works("wrong-extension", "wrong.jpg", encoded("PNG"), "wrong.jpg"),
    _works("extension-in-capitals", "LOUD.PNG", encoded()),
    _works("cmyk", "cmyk.jpg", encoded("JPEG", "CMYK", colour=(9, 9, 9, 9))),
    _works("sixteen-bit", "deep.png", _sixteen_bits()),
    _works("one-bit", "bits.png", encoded("PNG", "1", colour=1)),
    _works("grey-with-alpha", "alpha.png", encoded("PNG", "LA", colour=(9, 9))),
    _works("palette-with-transparency", "palette.png", PALETTE),
    _works("animated-gif", "moving.gif", _animated("GIF"), "first frame"),
    _works("animated-png", "moving.png", _animated("PNG"), "first frame"),
    _works("animated-webp", "moving.webp", _animated("WEBP"), "first frame"),
    _works("many-pages", "pages.tiff", _animated("TIFF"), "first frame"),
    _works("damaged-exif", "exif.jpg", encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")),
    _works("bytes-after-its-end", "more.png", encoded() + b"<script>" * 100),
)  # fmt: skip
