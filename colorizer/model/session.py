"""The exported generator in an onnxruntime session: arrays in, arrays out.

Shape legend: N sketches, S = the model's image size in pixels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colorizer.base.cores import count_cores
from colorizer.base.errors import ModelFolderError
from colorizer.base.pixels import HINT_CHANNELS, to_model_range, to_pixel_range
from colorizer.model.folder import (
    HINTS_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    ModelFolder,
    noise_name,
)

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]
DEVICES = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ModelSession:
    """A generator loaded in onnxruntime. Threads may share it."""

    def __init__(
        self, model: ModelFolder, *, threads: int | None = None, device: str = "cpu"
    ) -> None:
        """Load the model file, after its checksum was verified.

        ``threads``: default one per core; ``device``: ``cpu`` or ``cuda``. Raises
        :class:`ModelFolderError` if onnxruntime can't load the model file or its shapes differ from
        its config's, or the device isn't available; :class:`ValueError` for an unknown device.
        """
        import onnxruntime

        self.model = model
        data = model.read_onnx()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or count_cores()
        options.log_severity_level = 3  # errors only: it warns about inputs with a default value
        provider = _find_provider(device)
        try:
            self._session: Any = onnxruntime.InferenceSession(data, options, providers=[provider])
        except Exception as error:  # onnxruntime's own classes have no common base
            reason = str(error).splitlines()[0]
            raise ModelFolderError(
                f"{model.onnx_path}: onnxruntime can't load it ({reason})"
            ) from None
        self._check_shapes()

    def colour(
        self,
        sketches: Sequence[UInt8Array],
        noise: Sequence[Float32Array] | None = None,
        hints: Float32Array | None = None,
    ) -> UInt8Array:
        """Colour N grey sketches, each S×S ``uint8`` (255 = paper) → N×S×S×3 ``uint8``.

        ``noise``: the masks of :meth:`draw_noise`; None: no dropout. ``hints``: see :meth:`run`.
        """
        values = to_model_range(np.stack(sketches)[:, None].astype(np.float32))
        pixels = to_pixel_range(self.run(values, noise, hints))
        return pixels.round().clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def run(
        self,
        sketches: Float32Array,
        noise: Sequence[Float32Array] | None = None,
        hints: Float32Array | None = None,
    ) -> Float32Array:
        """Run the model: N×1×S×S float32 in −1..1 → N×3×S×S float32 in −1..1.

        ``hints``: N×4×S×S float32, colours in −1..1 times their mask, and the mask in 0..1, or −1
        where colours don't flow, if the model takes barriers; None: there are none. Raises
        :class:`ModelFolderError` if the model takes no hints.
        """
        inputs = {INPUT_NAME: sketches}
        inputs |= {noise_name(number): mask for number, mask in enumerate(noise or ())}
        if hints is not None:
            self.require_hints()
        if self.model.takes_hints:
            none = np.zeros((len(sketches), HINT_CHANNELS, *sketches.shape[2:]), np.float32)
            inputs[HINTS_NAME] = none if hints is None else hints
        (coloured,) = self._session.run([OUTPUT_NAME], inputs)
        return np.asarray(coloured, dtype=np.float32)

    def require_hints(self) -> None:
        """Raise :class:`ModelFolderError` if the model takes no hints."""
        if not self.model.takes_hints:
            raise ModelFolderError(
                f"{self.model.folder}: this model takes no hints: it was trained without"
                " (train.hints: points trains with them)"
            )

    def draw_noise(self, seeds: Sequence[int]) -> list[Float32Array]:
        """Dropout masks of N seeds, one N×C×H×W float32 per layer; a mask depends on its seed only.

        Raises :class:`ModelFolderError` if the model has no such inputs.
        """
        noise = self.model.config.get("noise") or {}
        shapes = noise.get("shapes")
        if not shapes:
            raise ModelFolderError(
                f"{self.model.folder}: this model has no variations: it was trained without"
                " dropout, or exported by an older version (`dvc repro export` exports it again)"
            )
        keep = np.float32(1.0 - float(noise["dropout"]))
        draws = [np.random.default_rng(seed) for seed in seeds]
        return [
            np.asarray(np.stack([draw.random(shape) < keep for draw in draws]) / keep, np.float32)
            for shape in shapes
        ]

    def _check_shapes(self) -> None:
        """Check the names, types and shapes of inputs and outputs against the config."""
        size = self.model.image_size
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [(value.name, value.type, value.shape[1:]) for value in (*inputs, *outputs)]
        channels = {INPUT_NAME: 1} | ({HINTS_NAME: HINT_CHANNELS} if self.model.takes_hints else {})
        wanted = [
            (name, "tensor(float)", [count, size, size])
            for name, count in (*channels.items(), (OUTPUT_NAME, 3))
        ]
        if found != wanted:
            raise ModelFolderError(
                f"{self.model.onnx_path}: its inputs and outputs aren't pictures of {size} px, as"
                " its config says; export the folder again"
            )


def _find_provider(device: str) -> str:
    import onnxruntime

    wanted = DEVICES.get(device)
    if wanted is None:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, got {device}")
    if wanted not in onnxruntime.get_available_providers():
        raise ModelFolderError(
            f"this onnxruntime doesn't support {device}; install onnxruntime-gpu, or use"
            " --device cpu"
        )
    return wanted
