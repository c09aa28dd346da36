"""Files that other programs open: PNG, WEBP and OpenRaster."""

import io
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageChops

from colorizer.artwork import Artwork
from colorizer.errors import PictureError
from colorizer.openraster import Layer, write_openraster
from tests.colorizer.drawing import draw


def make(alpha: Image.Image | None = None) -> Artwork:
    return Artwork(Image.effect_noise((60, 40), 80).convert("RGB"), draw(), alpha)


@pytest.mark.parametrize("kind", [".png", ".webp"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_file_holds_the_very_picture(tmp_path: Path, kind: str, has_alpha: bool) -> None:
    artwork = make(Image.effect_noise((60, 40), 90) if has_alpha else None)
    artwork.save(tmp_path / f"a{kind}")
    with Image.open(tmp_path / f"a{kind}") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(artwork.picture()))
    assert [path.name for path in tmp_path.iterdir()] == [f"a{kind}"]


def test_layers_make_the_picture_as_the_specification_lays_them(tmp_path: Path) -> None:
    artwork = make(Image.effect_noise((60, 40), 90))
    artwork.save(tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        image = ElementTree.fromstring(archive.read("stack.xml"))
        assert (image.get("w"), image.get("h")) == ("60", "40")
        pictures, operators = [], []
        for layer in image.iterfind("stack/layer"):
            with Image.open(io.BytesIO(archive.read(layer.attrib["src"]))) as picture:
                pictures.append(picture.copy())
            operators.append(layer.get("composite-op"))
        with Image.open(io.BytesIO(archive.read("mergedimage.png"))) as picture:
            merged = np.asarray(picture)
        with Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png"))) as thumbnail:
            assert max(thumbnail.size) <= 256
    assert operators == ["svg:multiply", "svg:src-over"]
    assert np.array_equal(merged, np.asarray(artwork.picture()))
    lines, colour = (picture.convert("RGB") for picture in pictures)
    assert np.array_equal(merged[..., :3], np.asarray(ImageChops.multiply(lines, colour)))


def test_equal_layers_make_equal_files() -> None:
    artwork = make()
    assert artwork.encode(".ora") == artwork.encode(".ora")


def test_layers_of_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="layer lines"):
        write_openraster(io.BytesIO(), [Layer("lines", draw(3, 3))], draw(4, 4))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_line_strength_is_the_distance_from_white(strength: float) -> None:
    artwork = make()
    changed = np.asarray(artwork.with_line_strength(strength).lines).astype(float)
    wanted = (255 - (255 - np.asarray(artwork.lines).astype(float)) * strength).clip(0)
    assert np.abs(changed - wanted).max() <= 0.5


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.psd"])
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match=r"name it \.png, \.webp or \.ora"):
        make().save(tmp_path / name)


def test_too_large_for_webp_is_told(tmp_path: Path) -> None:
    long = Image.new("RGB", (16384, 1))
    with pytest.raises(PictureError, match="at most 16383 px"):
        Artwork(long, long, None).save(tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []
