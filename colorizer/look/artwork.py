"""A coloured sketch: colours, lines and alpha as layers, until it is saved."""

import io
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, ImageChops

from colorizer.base.errors import PictureError
from colorizer.base.files import write_bytes
from colorizer.look.ink import separate
from colorizer.look.openraster import PNG_COMPRESS_LEVEL, Layer, write_openraster
from colorizer.pictures.decoding import WHITE

Part = Literal["picture", "colour", "lines"]
FORMATS = {".png": "PNG", ".webp": "WEBP", ".ora": "ORA"}


class Artwork(NamedTuple):
    """Layers of one size: colours, and the sketch's own lines and alpha."""

    colour: Image.Image
    """RGB, without lines."""
    lines: Image.Image
    """RGB, dark on white; multiplied over the colours."""
    alpha: Image.Image | None
    """Grey, the sketch's own; None for a sketch without transparency."""
    is_copy: bool = False
    """Whether the sketch was coloured already: then it is the colours, as it was, without lines."""

    @classmethod
    def copy_of(cls, picture: Image.Image, alpha: Image.Image | None) -> "Artwork":
        """A picture (RGB) that was coloured already, unchanged."""
        return cls(picture, Image.new("RGB", picture.size, "white"), alpha, is_copy=True)

    def picture(self, part: Part = "picture") -> Image.Image:
        """Lines over colours, or one of them alone: RGB, or RGBA with the sketch's own alpha."""
        if part == "picture":
            picture = ImageChops.multiply(self.colour, self.lines)
        else:
            picture = (self.colour if part == "colour" else self.lines).copy()
        if self.alpha is not None:
            picture.putalpha(self.alpha)
        return picture

    @property
    def hides_its_colours(self) -> bool:
        """Whether most opaque pixels are ink: the paper is transparent, and so are its colours."""
        if self.alpha is None or self.is_copy:
            return False
        opaque = self.alpha.point([WHITE * (value > WHITE // 2) for value in range(256)])
        cumulated = list(accumulate(self.lines.convert("L").histogram(opaque)))
        return cumulated[WHITE // 2] > cumulated[-1] / 2

    def with_line_strength(self, strength: float) -> "Artwork":
        """Lines fainter (below 1, 0 is none) or darker (above)."""
        if strength == 1:
            return self
        table = [max(0, round(WHITE - (WHITE - value) * strength)) for value in range(256)]
        return self._replace(lines=self.lines.point(table * 3))

    def encode(self, kind: str, part: Part = "picture") -> bytes:
        """The file's bytes; ``kind`` is .png, .webp (lossless) or .ora (lines and colour layers).

        Raises :class:`PictureError` for another suffix, or a picture too large for WEBP.
        """
        if kind not in FORMATS:
            raise PictureError(f"can't write {kind or 'a file without suffix'}: {_KINDS}")
        buffer = io.BytesIO()
        if kind == ".ora":
            self._write_layers(buffer)
            return buffer.getvalue()
        picture = self.picture(part)
        if kind == ".webp":
            if max(picture.size) > MAX_WEBP_SIDE_PX:
                raise PictureError(f"too large for WEBP: at most {MAX_WEBP_SIDE_PX} px a side")
            # exact: keep the colours of transparent pixels
            picture.save(buffer, "WEBP", lossless=True, exact=True)
        else:
            picture.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
        return buffer.getvalue()

    def save(self, path: str | Path, part: Part = "picture") -> None:
        """Write a .png, .webp or .ora file, whole or not at all.

        Raises :class:`PictureError` for another suffix, :class:`OSError` if it can't be written.
        """
        path = Path(path)
        write_bytes(path, self.encode(path.suffix.lower(), part))

    def _write_layers(self, buffer: io.BytesIO) -> None:
        ink, colour = separate(self.colour, self.lines, self.alpha)
        layers = [Layer("lines", ink, "svg:multiply"), Layer("colour", colour)]
        write_openraster(buffer, layers, self.picture())


MAX_WEBP_SIDE_PX = 16383
_KINDS = "name it .png, .webp or .ora"
