"""Hints in an .ora: written as a hidden layer, and read back, also after another program."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw

from colorizer import Colorizer
from colorizer.base.errors import HintError, PictureError
from colorizer.hints.dots import read_dots
from colorizer.hints.hint import Hint, parse_hint
from colorizer.hints.layer import make_layer
from colorizer.hints.openraster import MAX_LAYER_BYTES, MAX_STACK_BYTES, read_ora
from colorizer.look.artwork import Artwork
from tests.colorizer.conftest import Ran
from tests.colorizer.drawing import draw, png

SIZE = (60, 40)
DOTS = [Hint(30, 12, "#e8b090", 3), Hint(8.5, 30.5, "#2244aa", 2)]
PLAIN = Artwork(draw(), draw(), None)


def make_ora(dots: list[Hint] | None = DOTS) -> bytes:
    layer = None if dots is None else make_layer(dots, SIZE)
    return PLAIN._replace(hints=layer).encode(".ora")


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def pack(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def save_as_krita(ora: bytes) -> bytes:
    """Another program's file: layers cropped, with their places, in groups, and nothing else."""
    image = ElementTree.fromstring(members(ora)["stack.xml"])
    (stack,) = image.iterfind("stack")
    contents = {}
    for number, layer in enumerate(list(stack)):
        with Image.open(io.BytesIO(members(ora)[layer.attrib["src"]])) as picture:
            box = picture.convert("RGBA").getbbox()
            assert box
            contents[f"data/cropped{number}.png"] = png(picture.crop(box))
        layer.attrib |= {"src": f"data/cropped{number}.png", "x": str(box[0]), "y": str(box[1])}
        layer.set("name", layer.attrib["name"].upper())
        stack.remove(layer)
        ElementTree.SubElement(stack, "stack", {"name": "group"}).append(layer)
    return pack(
        {"mimetype": b"image/openraster", "stack.xml": ElementTree.tostring(image)} | contents
    )


def test_hints_are_a_hidden_layer_above_the_others() -> None:
    contents, plain = members(make_ora()), members(make_ora(None))
    layers = list(ElementTree.fromstring(contents["stack.xml"]).iterfind("stack/layer"))
    assert [(each.get("name"), each.get("visibility")) for each in layers] == [
        ("hints", "hidden"),
        ("lines", None),
        ("colour", None),
    ]
    assert contents["mergedimage.png"] == plain["mergedimage.png"]
    assert read_dots(contents["hints.json"]) == (SIZE, DOTS)
    with Image.open(io.BytesIO(contents[layers[0].attrib["src"]])) as picture:
        assert picture.tobytes() == make_layer(DOTS, SIZE).picture.tobytes()


def test_without_hints_the_file_is_as_ever_and_the_same_hints_give_the_same_bytes() -> None:
    assert make_ora() == make_ora()
    assert make_ora([]) == make_ora(None)
    assert set(members(make_ora(None))) == {
        *("mimetype", "stack.xml", "mergedimage.png", "Thumbnails/thumbnail.png"),
        *("data/layer0.png", "data/layer1.png"),
    }
    assert members(make_ora(None))["stack.xml"] == (
        b'<image version="0.0.6" w="60" h="40"><stack>'
        b'<layer name="lines" src="data/layer0.png" composite-op="svg:multiply" x="0" y="0"'
        b' opacity="1.0" /><layer name="colour" src="data/layer1.png"'
        b' composite-op="svg:src-over" x="0" y="0" opacity="1.0" /></stack></image>'
    )


def test_painted_hints_have_a_layer_but_no_dots() -> None:
    painted = make_layer(DOTS, SIZE).picture
    ora = PLAIN._replace(hints=make_layer(painted, SIZE)).encode(".ora")
    assert "hints.json" not in members(ora)
    assert make_layer(ora, SIZE).picture.tobytes() == painted.tobytes()


def test_the_layer_is_read_back_also_after_another_program() -> None:
    expected = make_layer(DOTS, SIZE)
    assert make_layer(make_ora(), SIZE) == expected
    saved = make_layer(save_as_krita(make_ora()), SIZE)
    assert saved.picture.tobytes() == expected.picture.tobytes()
    assert saved.dots is None


def test_dots_count_until_the_layer_is_painted_on() -> None:
    contents = members(make_ora())
    assert read_dots(pack(contents)) == (SIZE, DOTS)
    layer = make_layer(DOTS, SIZE).picture
    ImageDraw.Draw(layer).rectangle((45, 5, 55, 15), fill=(200, 30, 30, 255))
    size, dots = read_dots(pack(contents | {"data/layer0.png": png(layer)}))
    assert size == SIZE
    assert {dot.colour for dot in dots} == {"#e8b090", "#2244aa", "#c81e1e"}
    drawn = make_layer(dots, SIZE).picture
    assert np.array_equal(np.asarray(drawn)[8:12, 48:52], np.asarray(layer)[8:12, 48:52])


def test_a_layer_that_reaches_beyond_the_picture_is_cropped() -> None:
    contents = members(make_ora())
    large = Image.new("RGBA", (20, 20), (200, 30, 30, 255))
    stack = contents["stack.xml"].replace(b'x="0" y="0"', b'x="-15" y="-18"', 1)
    picture = make_layer(
        pack(contents | {"data/layer0.png": png(large), "stack.xml": stack}), SIZE
    ).picture
    assert picture.getbbox() == (0, 0, 5, 2)


def test_the_command_goes_on_from_an_ora(
    tmp_path: Path, hint_folder: Path, run: Callable[..., Ran]
) -> None:
    sketch, first, again = (tmp_path / name for name in ("a.png", "first.ora", "again.ora"))
    draw().save(sketch)
    hint = "30,12,#e8b090,3"
    assert run(sketch, "-o", first, "--hint", hint, model=hint_folder).code == 0
    assert read_dots(first.read_bytes()).hints == DOTS[:1]
    assert run(sketch, "-o", again, "--hints", first, model=hint_folder).code == 0
    assert again.read_bytes() == first.read_bytes()
    done = run(sketch, "-o", first, "--hints", first, model=hint_folder)
    assert done.code == 1
    assert first.read_bytes() == again.read_bytes()
    dots = [parse_hint(hint)]
    with_hints = Colorizer.load(hint_folder).draw(sketch, hints=dots).encode(".ora")
    assert with_hints == first.read_bytes()


DOCTYPE = b'<!DOCTYPE image [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stack.xml": b"<image"}, "stack.xml isn't valid XML"),
        ({"stack.xml": DOCTYPE + b"<image>&b;</image>"}, "a document type, which isn't read"),
        ({"stack.xml": b" " * (MAX_STACK_BYTES + 1)}, "too large"),
        ({"stack.xml": b'<image w="60" h="40"/>'}, "no layer named 'hints'"),
        ({"stack.xml": b'<layer name="hints"/>'}, "says no size"),
        ({"stack.xml": b'<image w="60" h="40"><layer name="hints"/></image>'}, "has no picture"),
        ({"stack.xml": b'<image w="1e99" h="40"><layer name="hints"/></image>'}, "'1e99' is no"),
        ({"data/layer0.png": b"\0" * (MAX_LAYER_BYTES + 1)}, "too large"),
        ({"data/layer0.png": png(Image.new("RGBA", SIZE))}, "nothing is painted in the .ora"),
        ({"data/layer0.png": b"no picture"}, "the hints: not a picture"),
        ({f"{number}": b"" for number in range(4001)}, "more than 4000 members"),
    ],
)
def test_what_is_no_ora_with_hints_is_refused(changes: dict[str, bytes], reason: str) -> None:
    data = pack(members(make_ora()) | changes)
    with pytest.raises(PictureError, match=reason):
        make_layer(data, SIZE)


def test_damaged_files_and_other_sizes_are_refused() -> None:
    ora = make_ora()
    with pytest.raises(HintError, match="damaged"):
        read_ora(ora[:-30])
    with pytest.raises(HintError, match=r"the \.ora is 60×40, the sketch 40×60"):
        make_layer(ora, (40, 60))
    with pytest.raises(HintError, match=r"not an \.ora: a zip without stack\.xml"):
        read_ora(pack({"a.txt": b""}))
