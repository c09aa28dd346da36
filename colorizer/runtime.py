"""Colouring sketches with an exported generator; needs onnxruntime, numpy and pillow only."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, cast, get_args

import numpy as np

from colorizer.base.errors import AlreadyColouredError, PictureError
from colorizer.base.names import british
from colorizer.hints.barriers import add_barriers
from colorizer.hints.layer import HintSource, make_layer
from colorizer.hints.model_input import fit_layer
from colorizer.model.folder import ModelFolder, open_model_folder
from colorizer.model.session import Float32Array, ModelSession, UInt8Array
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import (
    MAX_SKETCH_PIXELS,
    Decoded,
    convert_picture,
    open_with_alpha,
)
from colorizer.pictures.squares import fit_sketch, is_strip
from colorizer.pictures.strips import (
    Window,
    crop_rows,
    draw_windows,
    place_windows,
    window_length,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from colorizer.look.artwork import Artwork
    from colorizer.pictures.sketch import Sketch

MAX_LINE_STRENGTH = 2.0
WhenColoured = Literal["skip", "copy", "colour"]


@dataclass(frozen=True, kw_only=True)
class ColorizeOptions:
    """Options of one colouring.

    clean           turn a photo or scan into line art first
    opaque          composite the sketch on white, so that colours show where it was transparent
    seed            a whole number ≥ 0: a slight variation by the generator's dropout noise; None:
                    no noise
    palette         1 to 12 colours that replace the picture's main colours: "#ff8800,#2244aa", or a
                    sequence of such colours; kept as text
    reference       a picture whose hues and saturation the result takes on: a file's path, its
                    bytes or a picture of Pillow's; kept as the latter
    keep_skin       palette and reference leave out what has the colours of skin
    line_strength   0 (no lines) to 2 (twice as dark); 1: as in the sketch
    coloured        of a picture that is coloured already: "skip" leaves it alone
                    (AlreadyColouredError), "copy" copies it as it is, "colour" colours it

    Raises :class:`ValueError` for a value out of range, an invalid palette or a reference without
    colours, :class:`TypeError` for a reference of another type, and
    :class:`~colorizer.base.errors.PictureError` for a reference that isn't a readable picture.
    """

    clean: bool = False
    opaque: bool = False
    seed: int | None = None
    palette: str | Sequence[str] | None = None
    reference: "str | Path | bytes | Image | None" = None
    keep_skin: bool = False
    line_strength: float = 1.0
    coloured: WhenColoured = "copy"

    def __post_init__(self) -> None:
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be ≥ 0, got {self.seed}")
        if not 0 <= self.line_strength <= MAX_LINE_STRENGTH:
            raise ValueError(
                f"line strength must be 0 to {MAX_LINE_STRENGTH:g}, got {self.line_strength:g}"
            )
        object.__setattr__(self, "coloured", british(self.coloured))
        if self.coloured not in get_args(WhenColoured):
            raise ValueError(f"coloured must be skip, copy or colour, got {self.coloured!r}")
        if self.palette is not None:
            from colorizer.look.palette import join_colours, parse_colours

            object.__setattr__(self, "palette", text := join_colours(self.palette))
            parse_colours(text)
        if self.reference is not None:
            object.__setattr__(self, "reference", open_reference(self.reference))


def open_reference(given: "str | Path | bytes | Image") -> "Image":
    """A reference, as RGB or RGBA: a file's path, its bytes or a picture of Pillow's.

    Raises :class:`PictureError` for a file that isn't a readable picture, :class:`ValueError` for a
    picture without colours, and :class:`TypeError` for anything else.
    """
    from PIL import Image

    from colorizer.look.palette import has_colours

    if isinstance(given, Image.Image):
        is_plain = given.mode in ("RGB", "RGBA")
        picture = given if is_plain else convert_picture(given).with_alpha()
    elif isinstance(given, str | Path | bytes):
        source = Path(given) if isinstance(given, str) else given
        where = "the reference" if isinstance(given, bytes) else f"the reference {given}"
        try:
            picture = open_with_alpha(source, max_pixels=MAX_SKETCH_PIXELS).with_alpha()
        except PictureError as error:
            raise PictureError(f"{where}: {error}") from None
    else:
        kind = type(given).__name__
        raise TypeError(f"reference must be a path, a file's bytes or a PIL picture, got {kind}")
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[1] == 0:
        raise ValueError("the reference is wholly transparent: it has no colours to take")
    if not has_colours(picture):
        raise ValueError("the reference is black and white: it has no colours to take")
    return picture


class Colorizer:
    """A loaded generator that colours sketches. Threads may share it."""

    def __init__(
        self,
        model: ModelFolder,
        *,
        threads: int | None = None,
        decoder: DecoderProcess | None = None,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.decoder = decoder
        self.session = ModelSession(model, threads=threads, device=device)

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        decoder: DecoderProcess | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load an exported folder, or ``models:/name@alias`` from a registry, checksums verified.

        With a ``decoder``, pictures are decoded in its child process, which a hostile picture can
        crash without harm to this one. ``threads`` is onnxruntime's (default: one per core),
        ``device`` is ``cpu`` or ``cuda``.

        Raises :class:`ModelFolderError` if the folder is incomplete, damaged or of another
        version, or the registry has no such model; :class:`ValueError` for another ``device``.
        """
        if str(model).startswith("models:/"):
            from colorizer.model.registry import fetch_model

            model = fetch_model(str(model)).folder
        opened = open_model_folder(Path(model), skip_onnx_checksum=True)
        return cls(opened, decoder=decoder, threads=threads, device=device)

    def __call__(
        self,
        picture: "str | Path | bytes | Image",
        options: ColorizeOptions | None = None,
        *,
        hints: HintSource | None = None,
    ) -> "Image":
        """Colour one sketch → RGB, or RGBA if it has transparency.

        The sketch is a file's path, its bytes, or a picture of Pillow's. ``hints`` say what colour
        a place has: a sequence of :class:`~colorizer.hints.hint.Hint`, or what
        :func:`~colorizer.hints.layer.make_layer` takes besides.

        The result has exactly the sketch's size and alpha. Raises
        :class:`~colorizer.base.errors.PictureError` if the file is not a readable picture,
        :class:`~colorizer.base.errors.HintError` for a hint that is invalid or outside,
        :class:`~colorizer.base.errors.ModelFolderError` for a seed if the model has no noise, and
        for hints if it takes none, and :class:`~colorizer.base.errors.AlreadyColouredError` if the
        options say so.
        """
        return self.draw(picture, options, hints=hints).picture()

    def draw(
        self,
        picture: "str | Path | bytes | Image",
        options: ColorizeOptions | None = None,
        *,
        hints: HintSource | None = None,
        decoder: DecoderProcess | None = None,
    ) -> "Artwork":
        """Colour one sketch → colours, lines and alpha as separate layers.

        Of a file with several pages or frames, the first; of a picture of Pillow's, the current.
        ``decoder`` replaces the colorizer's own, for threads that have one each. Raises what
        :meth:`__call__` raises.
        """
        decoded = self.decode(picture, decoder=decoder)
        return self.draw_decoded(decoded, options, hints, decoder=decoder)

    def decode(
        self,
        picture: "str | Path | bytes | Image",
        *,
        decoder: DecoderProcess | None = None,
        page: int = 0,
    ) -> Decoded:
        """Decode a sketch file, or a ``page`` of a TIFF, counted from 0.

        The result's ``pages`` says how many there are; a picture of Pillow's is one, and needs no
        decoder. Raises :class:`PictureError`.
        """
        source = Path(picture) if isinstance(picture, str) else picture
        try:
            if not isinstance(source, Path | bytes):
                return convert_picture(source, max_pixels=MAX_SKETCH_PIXELS)
            if decoder := decoder or self.decoder:
                return decoder.open_with_alpha(source, page=page)
            return open_with_alpha(source, max_pixels=MAX_SKETCH_PIXELS, page=page)
        except PictureError as error:
            where = picture if isinstance(picture, str | Path) else "the sketch"
            raise PictureError(f"{where}: {error}") from None

    def draw_decoded(
        self,
        decoded: Decoded,
        options: ColorizeOptions | None = None,
        hints: HintSource | None = None,
        *,
        decoder: DecoderProcess | None = None,
    ) -> "Artwork":
        """Colour a decoded sketch, or copy a picture that is coloured already.

        ``decoder`` replaces the colorizer's own, for files of hints. Raises what :meth:`__call__`
        raises.
        """
        from colorizer.look.artwork import Artwork
        from colorizer.pictures.paper import look_at
        from colorizer.pictures.sketch import to_sketch

        options = options or ColorizeOptions()
        layer = None
        if hints is not None:
            self.session.require_hints()
            layer = make_layer(hints, decoded.rgb.size, decoder=decoder or self.decoder)
        page = look_at(decoded.rgb, decoded.alpha)
        if page.is_coloured and options.coloured == "skip":
            raise AlreadyColouredError("coloured already, so it was left alone")
        if page.is_coloured and options.coloured == "copy":
            copy = Artwork.copy_of(decoded.rgb, None if options.opaque else decoded.alpha)
            return copy._replace(hints=layer)
        sketch = to_sketch(decoded, page, clean=options.clean, opaque=options.opaque)
        artwork = self.draw_sketch(sketch, options, None if layer is None else layer.picture)
        return artwork._replace(hints=layer)

    def draw_sketch(
        self, sketch: "Sketch", options: ColorizeOptions, layer: "Image | None" = None
    ) -> "Artwork":
        """Colour line art. ``layer``: its hints, RGBA of its size.

        Raises :class:`PictureError` for an invalid palette, and :class:`ModelFolderError` for hints
        if the model takes none.
        """
        from colorizer.look import palette
        from colorizer.look.artwork import Artwork
        from colorizer.look.obedience import obey
        from colorizer.look.upscaling import spread_colours

        grey = sketch.grey
        noise = None if options.seed is None else self.session.draw_noise([options.seed])
        colour_small = self._colour_strip if is_strip(grey.size) else self._colour_small
        colour = spread_colours(colour_small(grey, noise, layer), grey)
        if options.reference is not None:
            reference = cast("Image", options.reference)
            colour = palette.recolour_like(
                colour, reference, lines=grey, keep_skin=options.keep_skin
            )
        if options.palette is not None:
            wanted = palette.parse_colours(palette.join_colours(options.palette))
            colour = palette.recolour_with(colour, wanted, lines=grey, keep_skin=options.keep_skin)
        if layer is not None:
            colour = obey(colour, grey, layer)
        artwork = Artwork(colour, sketch.lines, sketch.alpha)
        return artwork.with_line_strength(options.line_strength)

    def _colour_small(
        self, grey: "Image", noise: list[Float32Array] | None, layer: "Image | None"
    ) -> UInt8Array:
        """The generator's h×w×3 picture of a sketch (mode L), its longer side S px."""
        side = self.model.image_size
        square, placement = fit_sketch(grey, side)
        hints = None
        if layer is not None:
            hints = fit_layer(layer, placement, side)[None]
            if self.model.takes_barriers:
                add_barriers(hints[0], square, grey, placement)
        return np.ascontiguousarray(placement.cut(self.session.colour([square], noise, hints)[0]))

    def _colour_strip(
        self, grey: "Image", noise: list[Float32Array] | None, layer: "Image | None"
    ) -> UInt8Array:
        """A strip's h×w×3 picture, at most S px wide, of windows that the generator coloured."""
        from PIL import Image

        side, (short, long) = self.model.image_size, sorted(grey.size)
        length = window_length(grey.size, side)
        small = [max(1, round(sizes * side / length)) for sizes in (short, long)]
        windows = place_windows(long, length, small[1], side)

        def draw(window: Window) -> "Image.Image":
            part = crop_rows(grey, window.start, window.length)
            its_layer = layer and crop_rows(layer, window.start, window.length)
            return Image.fromarray(self._colour_small(part, noise, its_layer))

        is_tall = grey.height > grey.width
        size = (small[0], small[1]) if is_tall else (small[1], small[0])
        return np.asarray(draw_windows(size, windows, draw, grey))
