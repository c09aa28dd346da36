"""Colouring with an exported generator: onnxruntime, numpy and pillow, nothing else."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from colorizer.errors import ModelFolderError, PictureError
from colorizer.guard import PictureGuard
from colorizer.model_folder import (
    INPUT_NAME,
    OUTPUT_NAME,
    ModelFolder,
    noise_name,
    open_model_folder,
)
from colorizer.pictures import MAX_SKETCH_PIXELS, fit_sketch, open_with_alpha
from colorizer.pixels import to_model_range, to_pixel_range

if TYPE_CHECKING:
    from PIL.Image import Image

    from colorizer.artwork import Artwork
    from colorizer.sketch import Sketch

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
MAX_LINE_STRENGTH = 2.0
DEVICES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """How a sketch is to be coloured."""

    clean: bool = False
    """Make line art of a photo or scan first."""
    opaque: bool = False
    """Lay the sketch on white paper: colours show also where it was transparent."""
    seed: int | None = None
    """≥ 0: another colouring, by the generator's dropout noise; None: its plain one."""
    palette: str | None = None
    """Colours like ``#ff8800,#2244aa`` that the picture's main ones are moved to."""
    reference: "Image | None" = None
    """A picture whose hues and saturation are taken over."""
    line_strength: float = 1.0
    """0 (none) to 2."""

    def __post_init__(self) -> None:
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be ≥ 0, got {self.seed}")
        if not 0 <= self.line_strength <= MAX_LINE_STRENGTH:
            raise ValueError(
                f"line strength must be 0 to {MAX_LINE_STRENGTH:g}, got {self.line_strength:g}"
            )


class Colorizer:
    """A generator that is ready to colour sketches."""

    def __init__(
        self,
        model: ModelFolder,
        *,
        threads: int | None = None,
        guard: PictureGuard | None = None,
        device: str = "cpu",
    ) -> None:
        import onnxruntime

        self.model = model
        self.guard = guard
        data = model.read_onnx()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.log_severity_level = 3  # errors; it would warn of inputs that have a default
        provider = _find_provider(device)
        try:
            self.session: Any = onnxruntime.InferenceSession(data, options, providers=[provider])
        except Exception as error:  # onnxruntime's own classes have no common base
            reason = str(error).splitlines()[0]
            raise ModelFolderError(
                f"{model.onnx_path}: onnxruntime refuses it ({reason})"
            ) from None
        self._check_shapes()

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        guard: PictureGuard | None = None,
        threads: int | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load an exported folder, or ``models:/name@alias`` from a registry, checksums verified.

        With a ``guard`` pictures are decoded in its child process: hostile ones can't harm this
        one. Raises :class:`ModelFolderError` if the folder is incomplete, damaged or of another
        version, or the registry has none.
        """
        if str(model).startswith("models:/"):
            from colorizer.registry import fetch_model

            model = fetch_model(str(model)).folder
        opened = open_model_folder(Path(model), but_onnx=True)
        return cls(opened, guard=guard, threads=threads, device=device)

    def __call__(self, picture: "str | Path | bytes", wish: Wish | None = None) -> "Image":
        """Colour one sketch file (a path, or its bytes) → RGB, or RGBA if it has transparency.

        The picture has exactly the sketch's size and alpha. Raises
        :class:`~colorizer.errors.PictureError` if the file is not a sane picture.
        """
        return self.draw(picture, wish).picture()

    def draw(
        self,
        picture: "str | Path | bytes",
        wish: Wish | None = None,
        *,
        guard: PictureGuard | None = None,
    ) -> "Artwork":
        """Colour one sketch file; colours, lines and alpha stay apart.

        Threads may share a colorizer, and bring a ``guard`` each. Raises as a call does.
        """
        from colorizer.sketch import to_sketch

        wish = wish or Wish()
        source = Path(picture) if isinstance(picture, str) else picture
        try:
            if guard := guard or self.guard:
                decoded = guard.open_with_alpha(source)
            else:
                decoded = open_with_alpha(source, max_pixels=MAX_SKETCH_PIXELS)
        except PictureError as error:
            where = "the sketch" if isinstance(picture, bytes) else picture
            raise PictureError(f"{where}: {error}") from None
        return self.draw_sketch(to_sketch(decoded, clean=wish.clean, opaque=wish.opaque), wish)

    def draw_sketch(self, sketch: "Sketch", wish: Wish) -> "Artwork":
        """Colour line art. Raises :class:`PictureError` for a palette that is none."""
        from colorizer import palette
        from colorizer.artwork import Artwork
        from colorizer.upscaling import spread_colours

        grey = sketch.lines.convert("L")
        square, placement = fit_sketch(grey, self.model.image_size)
        noise = None if wish.seed is None else self.draw_noise([wish.seed])
        coloured = np.ascontiguousarray(placement.cut(self.colour([square], noise)[0]))
        colour = spread_colours(coloured, grey)
        if wish.reference is not None:
            colour = palette.recolour_like(colour, wish.reference)
        if wish.palette:
            colour = palette.recolour_with(colour, palette.parse_colours(wish.palette))
        artwork = Artwork(colour, sketch.lines, sketch.alpha)
        return artwork.with_line_strength(wish.line_strength)

    def colour(
        self, sketches: Sequence[UInt8Array], noise: Sequence[Float32Array] | None = None
    ) -> UInt8Array:
        """Colour N grey sketches (each S×S ``uint8``, 255 = paper) → N×S×S×3 ``uint8``."""
        values = to_model_range(np.stack(sketches)[:, None].astype(np.float32))
        pixels = to_pixel_range(self.run(values, noise))
        return pixels.round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def run(
        self, sketches: Float32Array, noise: Sequence[Float32Array] | None = None
    ) -> Float32Array:
        """The model itself: N×1×S×S float32 in −1..1 → N×3×S×S float32 in −1..1."""
        masks = {noise_name(number): mask for number, mask in enumerate(noise or ())}
        (coloured,) = self.session.run([OUTPUT_NAME], {INPUT_NAME: sketches} | masks)
        return np.asarray(coloured, dtype=np.float32)

    def draw_noise(self, seeds: Sequence[int]) -> list[Float32Array]:
        """Dropout masks of N seeds, N×C×H×W each: the same for a seed in any batch.

        Raises :class:`ModelFolderError` if the model has no such inputs.
        """
        noise = self.model.config.get("noise") or {}
        shapes = noise.get("shapes")
        if not shapes:
            raise ModelFolderError(
                f"{self.model.folder}: this model knows no variations: it was trained without"
                " dropout, or exported by an older version (`dvc repro export` exports it again)"
            )
        keep = np.float32(1.0 - float(noise["dropout"]))
        draws = [np.random.default_rng(seed) for seed in seeds]
        return [
            np.asarray(np.stack([draw.random(shape) < keep for draw in draws]) / keep, np.float32)
            for shape in shapes
        ]

    def _check_shapes(self) -> None:
        """Make sure that the model takes and gives what the config says."""
        size = self.model.image_size
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        found = [(value.name, value.type, value.shape[1:]) for value in (*inputs, *outputs)]
        wanted = [
            (INPUT_NAME, "tensor(float)", [1, size, size]),
            (OUTPUT_NAME, "tensor(float)", [3, size, size]),
        ]
        if found != wanted:
            raise ModelFolderError(
                f"{self.model.onnx_path}: doesn't take and give pictures of {size} px as its config"
                " says; export the folder again"
            )


def _find_provider(device: str) -> str:
    import onnxruntime

    wanted = DEVICES.get(device)
    if wanted is None:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device}")
    if wanted not in onnxruntime.get_available_providers():
        raise ModelFolderError(
            f"this onnxruntime has no {device}; install onnxruntime-gpu, or use --device cpu"
        )
    return wanted
