"""Files that other programs open: PNG, WEBP and OpenRaster."""

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageChops, ImageFilter

from colorizer.base.errors import PictureError
from colorizer.hints.hint import Hint
from colorizer.hints.layer import make_layer
from colorizer.look.artwork import Artwork
from colorizer.look.openraster import Layer, write_openraster
from tests.colorizer.drawing import draw

FloatArray = npt.NDArray[np.float64]
KRITA = shutil.which("krita") if shutil.which("xvfb-run") else None


def make(alpha: Image.Image | None = None) -> Artwork:
    return Artwork(Image.effect_noise((60, 40), 80).convert("RGB"), draw(), alpha)


@pytest.mark.parametrize("kind", [".png", ".webp"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_a_file_contains_the_same_pixels(tmp_path: Path, kind: str, has_alpha: bool) -> None:
    artwork = make(Image.effect_noise((60, 40), 90) if has_alpha else None)
    artwork.save(tmp_path / f"a{kind}")
    with Image.open(tmp_path / f"a{kind}") as picture:
        assert np.array_equal(np.asarray(picture), np.asarray(artwork.picture()))
    assert [path.name for path in tmp_path.iterdir()] == [f"a{kind}"]


def composite(layers: Sequence[tuple[Image.Image, str | None]]) -> FloatArray:
    """Composite layers (the topmost first) as W3C's specification says; RGBA 0..1."""
    below = np.zeros((*layers[0][0].size[::-1], 4))
    for picture, operator in reversed(layers):
        above = np.asarray(picture.convert("RGBA")) / 255
        assert operator in ("svg:multiply", "svg:src-over")
        a, b = above[..., 3:], below[..., 3:]
        blended = above[..., :3] * below[..., :3] if operator == "svg:multiply" else above[..., :3]
        alpha = a + b - a * b
        sums = (1 - a) * b * below[..., :3] + (1 - b) * a * above[..., :3] + a * b * blended
        below = np.concatenate([sums / np.maximum(alpha, 1e-9), alpha], axis=-1)
    return below


def distance(layered: FloatArray, picture: Image.Image) -> float:
    """The largest difference of (colour · alpha, alpha), in levels of 255."""
    expected = np.asarray(picture.convert("RGBA")) / 255
    visible, expected_visible = layered.copy(), expected.copy()
    visible[..., :3] *= layered[..., 3:]
    expected_visible[..., :3] *= expected[..., 3:]
    return float(255 * np.abs(visible - expected_visible).max())


def sketches() -> dict[str, Artwork]:
    """Colours under lines: grey and coloured ones, opaque and not."""
    colour, grey = make().colour, draw().convert("L")
    soft = grey.filter(ImageFilter.GaussianBlur(1)).convert("RGB")
    fading = Image.linear_gradient("L").resize(grey.size)
    return {
        "opaque": make(),
        "soft": Artwork(colour, soft, None),
        "half transparent": Artwork(colour, soft, fading),
        "ink alone": Artwork(colour, soft, ImageChops.invert(soft.convert("L"))),
    }


@pytest.mark.parametrize("name", sketches())
def test_layers_composited_by_the_specification_give_the_picture(name: str, tmp_path: Path) -> None:
    artwork = sketches()[name]
    artwork.save(tmp_path / "a.ora")
    with zipfile.ZipFile(tmp_path / "a.ora") as archive:
        first = archive.infolist()[0]
        assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
        assert archive.read("mimetype") == b"image/openraster"
        image = ElementTree.fromstring(archive.read("stack.xml"))
        assert (image.get("w"), image.get("h")) == ("60", "40")
        layers = []
        for layer in image.iterfind("stack/layer"):
            with Image.open(io.BytesIO(archive.read(layer.attrib["src"]))) as picture:
                layers.append((picture.copy(), layer.get("composite-op")))
        with Image.open(io.BytesIO(archive.read("mergedimage.png"))) as picture:
            merged = picture.copy()
        with Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png"))) as thumbnail:
            assert max(thumbnail.size) <= 256
    assert [operator for _, operator in layers] == ["svg:multiply", "svg:src-over"]
    assert np.array_equal(np.asarray(merged), np.asarray(artwork.picture()))
    assert distance(composite(layers), merged) <= 2


@pytest.fixture(scope="module")
def krita_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that Krita's slow first start has initialised."""
    return tmp_path_factory.mktemp("krita")


def save_by_krita(folder: Path, source: str, target: str, krita_home: Path) -> None:
    command = ["xvfb-run", "-a", KRITA or "", "--export", "--export-filename", target, source]
    home = os.environ | {"HOME": str(krita_home)}
    subprocess.run(command, cwd=folder, env=home, check=True, capture_output=True, timeout=120)


@pytest.mark.slow
@pytest.mark.skipif(KRITA is None, reason="needs Krita and Xvfb (Debian: krita, xvfb, xauth)")
@pytest.mark.parametrize("name", sketches())
def test_krita_shows_the_picture_and_its_layers(
    name: str, tmp_path: Path, krita_home: Path
) -> None:
    artwork = sketches()[name]
    artwork.save(tmp_path / "a.ora")
    save_by_krita(tmp_path, "a.ora", "a.kra", krita_home)
    with zipfile.ZipFile(tmp_path / "a.kra") as document:
        root = ElementTree.fromstring(document.read("maindoc.xml"))
        with Image.open(io.BytesIO(document.read("mergedimage.png"))) as shown:
            assert distance(np.asarray(shown.convert("RGBA")) / 255, artwork.picture()) <= 3
    found = [(each.get("name"), each.get("compositeop")) for each in root.iterfind(".//{*}layer")]
    assert found == [("lines", "multiply"), ("colour", "normal")]


@pytest.mark.slow
@pytest.mark.skipif(KRITA is None, reason="needs Krita and Xvfb (Debian: krita, xvfb, xauth)")
def test_krita_keeps_hints_hidden_and_saves_them(tmp_path: Path, krita_home: Path) -> None:
    hints = make_layer([Hint(30, 12, "#e8b090", 3), Hint(50, 30, "#ffffff", 2)], (60, 40))
    artwork = make()._replace(hints=hints)
    artwork.save(tmp_path / "a.ora")
    save_by_krita(tmp_path, "a.ora", "b.ora", krita_home)
    with zipfile.ZipFile(tmp_path / "b.ora") as document:
        with Image.open(io.BytesIO(document.read("mergedimage.png"))) as shown:
            assert distance(np.asarray(shown.convert("RGBA")) / 255, artwork.picture()) <= 3
        stack = ElementTree.fromstring(document.read("stack.xml"))
    visible = [
        each.get("visibility") for each in stack.iter("layer") if each.get("name") == "hints"
    ]
    assert visible == ["hidden"]
    saved = make_layer(tmp_path / "b.ora", (60, 40))
    assert saved.picture.tobytes() == hints.picture.tobytes()


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
    expected = (255 - (255 - np.asarray(artwork.lines).astype(float)) * strength).clip(0)
    assert np.abs(changed - expected).max() <= 0.5


@pytest.mark.parametrize("name", ["a.gif", "a", "a.psd"])
def test_other_file_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match=r"name it \.png, \.jpg, \.webp or \.ora"):
        make().save(tmp_path / name)


def test_a_picture_too_large_for_webp_is_refused(tmp_path: Path) -> None:
    long = Image.new("RGB", (16384, 1))
    with pytest.raises(PictureError, match="at most 16383 px"):
        Artwork(long, long, None).save(tmp_path / "a.webp")
    assert list(tmp_path.iterdir()) == []
