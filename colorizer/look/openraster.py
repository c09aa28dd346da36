"""OpenRaster files (.ora): layers that Krita, GIMP and MyPaint open.

Source: the OpenRaster baseline specification, https://www.openraster.org/baseline/.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from PIL import Image

MIMETYPE = "image/openraster"
VERSION = "0.0.6"
THUMBNAIL_SIDE_PX = 256
PNG_COMPRESS_LEVEL = 4
"""Half the time of zlib's default level, for 7 % more bytes."""
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of zip: equal layers give equal bytes


class Layer(NamedTuple):
    """One layer, of the picture's size."""

    name: str
    picture: Image.Image
    """RGB or RGBA."""
    composite: str = "svg:src-over"
    """Its ``composite-op``, by the specification's names."""
    is_hidden: bool = False
    """Whether programs show it only when they are told to."""


def write_openraster(
    file: BinaryIO,
    layers: Sequence[Layer],
    merged: Image.Image,
    members: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write layers, the topmost first, and the merged picture, without those that are hidden.

    ``members``: of the zip, name → text, which other programs leave out when they save the file.
    Raises :class:`ValueError` if a layer is of another size than ``merged``.
    """
    for layer in layers:
        if layer.picture.size != merged.size:
            raise ValueError(f"layer {layer.name}: {layer.picture.size}, not {merged.size}")
    image = Element("image", version=VERSION, w=str(merged.width), h=str(merged.height))
    stack = SubElement(image, "stack")
    with zipfile.ZipFile(file, "w") as archive:
        # the specification wants it first and uncompressed
        archive.writestr(zipfile.ZipInfo("mimetype", _EPOCH), MIMETYPE)
        for number, layer in enumerate(layers):
            source = f"data/layer{number}.png"
            attributes = {"name": layer.name, "src": source, "composite-op": layer.composite}
            element = SubElement(stack, "layer", attributes, x="0", y="0", opacity="1.0")
            if layer.is_hidden:
                element.set("visibility", "hidden")
            archive.writestr(zipfile.ZipInfo(source, _EPOCH), _png(layer.picture))
        archive.writestr(zipfile.ZipInfo("stack.xml", _EPOCH), tostring(image, "UTF-8"))
        archive.writestr(zipfile.ZipInfo("mergedimage.png", _EPOCH), _png(merged))
        thumbnail = merged.copy()
        thumbnail.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
        archive.writestr(zipfile.ZipInfo("Thumbnails/thumbnail.png", _EPOCH), _png(thumbnail))
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return buffer.getvalue()
