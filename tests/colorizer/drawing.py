"""Line art and other pictures for tests."""

import io
from pathlib import Path
from typing import Any

import numpy as np
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


def night_scene() -> Image.Image:
    """A coloured picture that is mostly dark, RGB, 300×200."""
    picture = Image.new("RGB", (300, 200), (12, 16, 48))
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, 140, 300, 200), fill=(14, 44, 24))
    brush.ellipse((220, 20, 270, 70), fill=(236, 224, 150))
    brush.rectangle((40, 80, 120, 170), fill=(60, 34, 30))
    brush.rectangle((60, 100, 80, 120), fill=(250, 190, 70))
    return picture


def grey_photo(lightest: int = 255) -> Image.Image:
    """Soft shades of grey from black to ``lightest``, RGB, 300×200."""
    noise = np.random.default_rng(1).uniform(0, lightest, (12, 18)).astype(np.uint8)
    return Image.fromarray(noise).resize((300, 200), Image.Resampling.BICUBIC).convert("RGB")


def png(picture: Image.Image | np.ndarray[Any, Any]) -> bytes:
    """A PNG of a picture, or of its H×W or H×W×3 ``uint8``."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def save_frames(path: Path, num_frames: int = 3) -> None:
    """A TIFF of pages or an animation; each is another drawing."""
    first, *others = (draw(60 + number, 40) for number in range(num_frames))
    if path.suffix != ".tif":  # frames have one size
        others = [other.resize(first.size) for other in others]
    first.save(path, save_all=True, append_images=others)
