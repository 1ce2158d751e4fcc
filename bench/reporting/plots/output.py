"""Panels as files, and as text to put into a page."""

import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError
from bench.reporting.exports import hindrance
from bench.reporting.plots import style
from bench.reporting.plots.panel import Panel, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")

_IDS = re.compile(rb'(\bid="|xlink:href="#|href="#|url\(#)')
_BESIDES = re.compile(rb"<!--.*?-->|^ +", re.DOTALL | re.MULTILINE)
"""Comments, which repeat all text, and indentation."""

_GROUPS = re.compile(rb'<g id="[^"]*">')
"""Named by Matplotlib, and referred to by nothing."""

_DECIMALS = re.compile(rb'(?<=[ "])(-?\d+\.\d\d)\d+(?=[ \n"])')
"""Coordinates finer than a hundredth of a point; those of a transformation stay."""


def svg(panel: Panel, theme: Theme) -> bytes:
    """The panel as an ``<svg>`` element on a transparent ground, to put into a page or a file.

    Equal for equal panels: it holds no date. Its ids are its own, so that several may stand in one
    page; text is drawn as outlines, so that it needs no fonts.
    """
    with style.settings(theme, salt=panel.name):
        return _content(panel.draw(theme), panel, theme, "svg", transparent=True)


@dataclass(frozen=True)
class Drawn:
    """A panel in every form that a report needs.

    Attributes:
        png: light, 150 dots per inch.
        light_svg: the same as an ``<svg>`` element on white ground, for a file and for a page.
        dark_svg: as `svg` makes it, on a transparent ground, for a page.
    """

    png: bytes
    light_svg: bytes
    dark_svg: bytes


def drawn(panel: Panel) -> Drawn:
    """The panel in every form; each theme is drawn once."""
    png, light = _light(panel)
    return Drawn(png, light, svg(panel, "dark"))


def _light(panel: Panel) -> tuple[bytes, bytes]:
    """PNG and SVG of one figure."""
    with style.settings("light", salt=panel.name):
        figure = panel.draw("light")
        return _content(figure, panel, "light", "png"), _content(figure, panel, "light", "svg")


def save(panel: Panel, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.png`` (150 dots per inch) and ``<name>.svg``, both light.

    Returns:
        The files.

    Raises:
        BenchError: they cannot be written.
    """
    files = (folder / f"{panel.name}.png", folder / f"{panel.name}.svg")
    for file, content in zip(files, _light(panel), strict=True):
        _write(file, content)
    return files


def write(panel: Panel, file: Path, theme: Theme) -> None:
    """Write one file; its ending says which of `FORMATS`.

    Raises:
        BenchError: it has another ending, or cannot be written.
    """
    form = file.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise BenchError(f"{file}: a plot is written as {known}")
    with style.settings(theme, salt=panel.name):
        _write(file, _content(panel.draw(theme), panel, theme, form))


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise BenchError(f"{file}: cannot be written: {hindrance(file, error)}") from error


PIXELS = 100
"""Dots per inch of what an SVG holds as pixels: thousands of faint points."""

_UNDATED: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
    "png": {},
}


def _content(
    figure: "Figure", panel: Panel, theme: Theme, form: str, transparent: bool = False
) -> bytes:
    out = io.BytesIO()
    style.settle(figure)
    figure.savefig(
        out,
        format=form,
        dpi=PIXELS if form == "svg" else style.RESOLUTION,
        metadata=_UNDATED[form],
        facecolor="none" if transparent else "auto",
    )
    if form != "svg":
        return out.getvalue()
    text = out.getvalue()
    text = _BESIDES.sub(b"", text[text.index(b"<svg") :])
    text = _DECIMALS.sub(rb"\g<1>", _GROUPS.sub(b"<g>", text))
    prefix = hashlib.sha256(f"{panel.name} {theme}".encode()).hexdigest()[:6]
    return _IDS.sub(rb"\g<1>p" + prefix.encode() + b"-", text)
