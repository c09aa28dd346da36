"""OpenRaster files (.ora): layers that Krita, GIMP and MyPaint open.

Source: the OpenRaster baseline specification, https://www.openraster.org/baseline/.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from PIL import Image

MIMETYPE = "image/openraster"
VERSION = "0.0.6"
THUMBNAIL_SIDE_PX = 256
PNG_COMPRESS_LEVEL = 4
"""Half of the time of zlib's default, for 7 % more bytes."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that zip knows: equal layers, equal bytes


class Layer(NamedTuple):
    """One layer, as large as the picture."""

    name: str
    picture: Image.Image
    """RGB or RGBA."""
    composite: str = "svg:src-over"
    """How it's laid over those below, as the specification names it."""


def write_openraster(file: BinaryIO, layers: Sequence[Layer], merged: Image.Image) -> None:
    """Write layers, the topmost first, and the picture that they make together.

    Raises :class:`ValueError` if a layer is of another size than ``merged``.
    """
    for layer in layers:
        if layer.picture.size != merged.size:
            raise ValueError(f"layer {layer.name}: {layer.picture.size}, not {merged.size}")
    image = Element("image", version=VERSION, w=str(merged.width), h=str(merged.height))
    stack = SubElement(image, "stack")
    with zipfile.ZipFile(file, "w") as archive:
        # first and not compressed: programs know the format by it
        archive.writestr(zipfile.ZipInfo("mimetype", _EPOCH), MIMETYPE)
        for number, layer in enumerate(layers):
            source = f"data/layer{number}.png"
            attributes = {"name": layer.name, "src": source, "composite-op": layer.composite}
            SubElement(stack, "layer", attributes, x="0", y="0", opacity="1.0")
            archive.writestr(zipfile.ZipInfo(source, _EPOCH), _png(layer.picture))
        archive.writestr(zipfile.ZipInfo("stack.xml", _EPOCH), tostring(image, "UTF-8"))
        archive.writestr(zipfile.ZipInfo("mergedimage.png", _EPOCH), _png(merged))
        thumbnail = merged.copy()
        thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
        archive.writestr(zipfile.ZipInfo("Thumbnails/thumbnail.png", _EPOCH), _png(thumbnail))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()
