"""Line art for tests."""

import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps


def draw(width: int = 60, height: int = 40) -> Image.Image:
    """A black ring and a stroke on white, RGB."""
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    thick = max(1, min(width, height) // 20)
    inset_x, inset_y = width // 5, height // 5
    box = (inset_x, inset_y, width - 1 - inset_x, height - 1 - inset_y)
    pen.ellipse(box, outline="black", width=thick)
    pen.line((0, height // 2, width, height // 2), fill=(40, 40, 160), width=thick)
    return picture


def ink_alone(drawing: Image.Image) -> Image.Image:
    """The drawing without paper, RGBA: black, with the darkness as its alpha."""
    picture = Image.new("RGBA", drawing.size, (0, 0, 0, 0))
    picture.putalpha(ImageOps.invert(drawing.convert("L")))
    return picture


def painted(width: int = 60, height: int = 40) -> Image.Image:
    """The drawing with two colours on it: a page that is coloured already, RGB."""
    picture = draw(width, height)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((width // 4, height // 4, width // 2, height // 2), fill=(240, 120, 90))
    pen.rectangle((width // 2, height // 2, width * 3 // 4, height * 3 // 4), fill=(90, 160, 240))
    return picture


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def save_frames(path: Path, num_frames: int = 3) -> None:
    """A TIFF of pages or an animation; each is another drawing."""
    first, *others = (draw(60 + number, 40) for number in range(num_frames))
    if path.suffix != ".tif":  # frames have one size
        others = [other.resize(first.size) for other in others]
    first.save(path, save_all=True, append_images=others)
