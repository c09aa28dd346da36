"""Colouring with an exported generator: onnxruntime, numpy and pillow, nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from colorizer.errors import ModelFolderError, PictureError
from colorizer.guard import PictureGuard
from colorizer.model_folder import INPUT_NAME, OUTPUT_NAME, ModelFolder, open_model_folder
from colorizer.pictures import fit_sketch, open_picture
from colorizer.pixels import to_model_range, to_pixel_range

if TYPE_CHECKING:
    from PIL.Image import Image

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


class Colorizer:
    """A generator that is ready to colour sketches."""

    def __init__(
        self,
        model: ModelFolder,
        *,
        threads: int | None = None,
        guard: PictureGuard | None = None,
    ) -> None:
        import onnxruntime

        self.model = model
        self.decode = guard.open if guard else open_picture
        data = model.read_onnx()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        try:
            self.session: Any = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes have no common base
            reason = str(error).splitlines()[0]
            raise ModelFolderError(
                f"{model.onnx_path}: onnxruntime refuses it ({reason})"
            ) from None
        self._check_shapes()

    @classmethod
    def load(cls, folder: str | Path, *, guard: PictureGuard | None = None) -> "Colorizer":
        """Load an exported folder, every checksum verified.

        With a ``guard`` pictures are decoded in its child process: hostile ones can't harm this
        one. Raises :class:`ModelFolderError` if the folder is incomplete, damaged or of another
        version.
        """
        return cls(open_model_folder(Path(folder), but_onnx=True), guard=guard)

    def __call__(self, picture: "str | Path | bytes") -> "Image":
        """Colour one sketch file (a path, or its bytes) → RGB picture of the sketch's size.

        Raises :class:`~colorizer.errors.PictureError` if the file is not a sane picture.
        """
        from PIL import Image

        try:
            sketch = self.decode(Path(picture) if isinstance(picture, str) else picture)
        except PictureError as error:
            where = "the sketch" if isinstance(picture, bytes) else picture
            raise PictureError(f"{where}: {error}") from None
        square, placement = fit_sketch(sketch, self.model.image_size)
        coloured = Image.fromarray(np.ascontiguousarray(placement.cut(self.colour([square])[0])))
        return coloured.resize(sketch.size, Image.Resampling.BICUBIC)

    def colour(self, sketches: Sequence[UInt8Array]) -> UInt8Array:
        """Colour N grey sketches (each S×S ``uint8``, 255 = paper) → N×S×S×3 ``uint8``."""
        values = to_model_range(np.stack(sketches)[:, None].astype(np.float32))
        pixels = to_pixel_range(self.run(values))
        return pixels.round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def run(self, sketches: Float32Array) -> Float32Array:
        """The model itself: N×1×S×S float32 in −1..1 → N×3×S×S float32 in −1..1."""
        (coloured,) = self.session.run([OUTPUT_NAME], {INPUT_NAME: sketches})
        return np.asarray(coloured, dtype=np.float32)

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
