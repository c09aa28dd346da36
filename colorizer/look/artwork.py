"""A coloured sketch: colours, lines and alpha as layers, until it is saved."""

import io
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, ImageChops

from colorizer.base.errors import PictureError
from colorizer.base.files import write_bytes
from colorizer.base.names import british
from colorizer.hints.hint import format_json
from colorizer.hints.layer import HintLayer
from colorizer.hints.openraster import DOTS_MEMBER, LAYER_NAME
from colorizer.look.ink import separate
from colorizer.look.openraster import PNG_COMPRESS_LEVEL, Layer, write_openraster
from colorizer.pictures.decoding import WHITE

Part = Literal["picture", "colour", "lines"]
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".ora": "ORA"}
JPEG_QUALITY = 95


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
    hints: HintLayer | None = None
    """What the artist gave; an .ora keeps them."""

    @classmethod
    def copy_of(cls, picture: Image.Image, alpha: Image.Image | None) -> "Artwork":
        """A picture (RGB) that was coloured already, unchanged."""
        return cls(picture, Image.new("RGB", picture.size, "white"), alpha, is_copy=True)

    def picture(self, part: Part = "picture") -> Image.Image:
        """Lines over colours, or one of them alone: RGB, or RGBA with the sketch's own alpha."""
        part = british(part)  # type: ignore[assignment]
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
        """The file's bytes, by its suffix.

        ``kind`` is .png, .webp (lossless), .jpg or .jpeg (composited on white) or .ora (lines and
        colours as layers, hints as a hidden one). Raises :class:`PictureError` for another suffix,
        a part of layers, or a picture too large for WEBP.
        """
        check_kind(kind, part)
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
        elif FORMATS[kind] == "JPEG":
            page = Image.new("RGB", picture.size, "white")
            page.paste(picture, mask=picture.getchannel("A") if self.alpha is not None else None)
            # full chroma: thin lines beside colours
            page.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4")
        else:
            picture.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
        return buffer.getvalue()

    def save(self, path: str | Path, part: Part = "picture") -> None:
        """Write a .png, .jpg, .webp or .ora file, whole or not at all.

        Raises what :meth:`encode` raises, :class:`OSError` if it can't be written.
        """
        path = Path(path)
        write_bytes(path, self.encode(path.suffix.lower(), part))

    def _write_layers(self, buffer: io.BytesIO) -> None:
        ink, colour = separate(self.colour, self.lines, self.alpha)
        layers = [Layer("lines", ink, "svg:multiply"), Layer("colour", colour)]
        members = {}
        if self.hints is not None and self.hints.picture.getbbox() is not None:
            layers.insert(0, Layer(LAYER_NAME, self.hints.picture, is_hidden=True))
            if self.hints.dots is not None:
                members[DOTS_MEMBER] = format_json(self.hints.dots, self.colour.size)
        write_openraster(buffer, layers, self.picture(), members)


MAX_WEBP_SIDE_PX = 16383


def check_kind(kind: str, part: str) -> None:
    """Raise :class:`PictureError` if a file of this suffix can't hold this part."""
    if kind not in FORMATS:
        what = kind or "a file without suffix"
        raise PictureError(f"can't write {what}: name it .png, .jpg, .webp or .ora")
    if kind == ".ora" and part != "picture":
        raise PictureError("an .ora file holds lines and colours both, as layers")
