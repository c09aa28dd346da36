"""A coloured sketch: colours and lines apart until it's saved."""

import io
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops

from colorizer.errors import PictureError
from colorizer.openraster import Layer, write_openraster
from colorizer.pictures import WHITE

FORMATS = {".png": "PNG", ".webp": "WEBP", ".ora": "ORA"}


class Artwork(NamedTuple):
    """Layers of one size: colours, the artist's own lines, and what was transparent."""

    colour: Image.Image
    """RGB, without lines."""
    lines: Image.Image
    """RGB, dark on white; multiplied over the colours."""
    alpha: Image.Image | None
    """Grey, the sketch's own; None for a sketch without transparency."""

    def picture(self) -> Image.Image:
        """Lines over colours: RGB, or RGBA with the sketch's own alpha."""
        return self._with_alpha(ImageChops.multiply(self.colour, self.lines))

    def colour_only(self) -> Image.Image:
        """The colours alone: RGB, or RGBA with the sketch's own alpha."""
        return self._with_alpha(self.colour.copy())

    def with_line_strength(self, strength: float) -> "Artwork":
        """Lines fainter (below 1, 0 is none) or darker (above)."""
        if strength == 1:
            return self
        table = [max(0, round(WHITE - (WHITE - value) * strength)) for value in range(256)]
        return self._replace(lines=self.lines.point(table * 3))

    def encode(self, kind: str, *, colour_only: bool = False) -> bytes:
        """The file: ``kind`` is .png, .webp (lossless) or .ora (lines and colour as layers)."""
        if kind not in FORMATS:
            raise PictureError(f"can't write {kind or 'a file without suffix'}: {_KINDS}")
        buffer = io.BytesIO()
        if kind == ".ora":
            self._write_layers(buffer)
            return buffer.getvalue()
        picture = self.colour_only() if colour_only else self.picture()
        if kind == ".webp":
            if max(picture.size) > MAX_WEBP_SIDE_PX:
                raise PictureError(f"too large for WEBP: at most {MAX_WEBP_SIDE_PX} px a side")
            # exact: colours stay under what is transparent
            picture.save(buffer, "WEBP", lossless=True, exact=True)
        else:
            picture.save(buffer, "PNG")
        return buffer.getvalue()

    def save(self, path: str | Path, *, colour_only: bool = False) -> None:
        """Write a .png, .webp or .ora file, whole or not at all.

        Raises :class:`PictureError` for another suffix, :class:`OSError` if it can't be written.
        """
        path = Path(path)
        write_whole(path, self.encode(path.suffix.lower(), colour_only=colour_only))

    def _write_layers(self, buffer: io.BytesIO) -> None:
        layers = [
            Layer("lines", self._with_alpha(self.lines.copy()), "svg:multiply"),
            Layer("colour", self.colour_only()),
        ]
        write_openraster(buffer, layers, self.picture())

    def _with_alpha(self, picture: Image.Image) -> Image.Image:
        if self.alpha is not None:
            picture.putalpha(self.alpha)
        return picture


MAX_WEBP_SIDE_PX = 16383
_KINDS = "name it .png, .webp or .ora"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place, then move it there. Raises :class:`OSError`."""
    partial = path.with_name(f".{path.name}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
