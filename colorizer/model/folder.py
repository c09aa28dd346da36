"""The exported folder: its format, used by the stage that writes it and the runtime that loads it.

generator.onnx          the model: sketch N×1×S×S, and hints N×4×S×S if it takes them →
                        colour N×3×S×S, float32 in −1..1
generator.safetensors   the same weights, for further training
config.json             preprocessing, params, data, training and test metrics of the model
checksums.json          SHA-256 of every other file
README.md, grid.png     the model card, and a grid of coloured test pictures
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256
from colorizer.model.onnx_check import has_external_data

FORMAT_VERSION = 1
ONNX_FILE = "generator.onnx"
WEIGHTS_FILE = "generator.safetensors"
CONFIG_FILE = "config.json"
CHECKSUMS_FILE = "checksums.json"
CARD_FILE = "README.md"
GRID_FILE = "grid.png"
CHECKED_FILES = (ONNX_FILE, WEIGHTS_FILE, CONFIG_FILE, CARD_FILE, GRID_FILE)
INPUT_NAME = "sketch"
HINTS_NAME = "hints"
OUTPUT_NAME = "colour"
NOISE_NAME = "noise"
HINTS_AS_POINTS = "points"
"""The value of ``hints`` in ``config.json`` for a model that takes them."""
SAMPLE_SOURCE = "sample"
"""What the stage download calls the drawn sample in ``config.json``."""
SAMPLE_NOTE = (
    "a toy to try the pipeline with: it was trained on drawn sample characters, and real line art"
    " comes out worse than uncoloured; train on real pairs (make kaggle, or make archive PAIRS=…)"
)
"""Said of a model that was trained on the sample."""
_LIKE_AN_ADDRESS = re.compile(r"[^/]+(@[^/]+|/\d+)")
"""A registry's ``NAME@ALIAS`` or ``NAME/NUMBER``, of which ``models:/`` was forgotten."""
MIN_IMAGE_SIZE = 32
MAX_IMAGE_SIZE = 2048


def noise_name(number: int) -> str:
    """The name of the model's input for a dropout mask, counted from the innermost layer."""
    return f"{NOISE_NAME}_{number}"


@dataclass(frozen=True)
class ModelFolder:
    """An exported folder whose checksums were verified."""

    folder: Path
    config: dict[str, Any]
    onnx_sha256: str | None = None
    """Checked when the model file is read; None while the folder is being exported."""

    @property
    def onnx_path(self) -> Path:
        """The model file."""
        return self.folder / ONNX_FILE

    @property
    def image_size(self) -> int:
        """S: height and width in pixels of the model's input and output."""
        return int(self.config["preprocessing"]["image_size"])

    @property
    def takes_hints(self) -> bool:
        """Whether the model was trained with hints; folders of earlier versions weren't."""
        return self.config.get("hints") == HINTS_AS_POINTS

    @property
    def takes_barriers(self) -> bool:
        """Whether a mask of −1 keeps hints' colours away; not in folders of earlier versions."""
        return self.takes_hints and bool(self.config.get("hint_barriers"))

    @property
    def note(self) -> str | None:
        """What its user should know: :data:`SAMPLE_NOTE`, if the folder says it was trained so."""
        return SAMPLE_NOTE if is_from_sample(self.config) else None

    def read_onnx(self) -> bytes:
        """Read the model file and check these bytes, so that what was checked is what runs.

        Raises :class:`ModelFolderError` if it differs from its checksum, isn't an ONNX model, or
        stores weights in other files.
        """
        try:
            data = self.onnx_path.read_bytes()
        except OSError as error:
            raise _unreadable(self.onnx_path, error) from None
        if self.onnx_sha256 and hashlib.sha256(data).hexdigest() != self.onnx_sha256:
            raise _differs(self.onnx_path)
        try:
            is_external = has_external_data(data)
        except ValueError as error:
            raise ModelFolderError(
                f"{self.onnx_path}: not an ONNX model ({error}); export the folder again"
            ) from None
        if is_external:
            raise ModelFolderError(
                f"{self.onnx_path}: stores weights in other files, which are never opened; export"
                " the model as one file"
            )
        return data


def is_from_sample(config: dict[str, Any]) -> bool:
    """Whether a folder's config says that the model was trained on the drawn sample."""
    data = config.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    return isinstance(source, dict) and source.get("source") == SAMPLE_SOURCE


def open_model_folder(folder: Path, *, skip_onnx_checksum: bool = False) -> ModelFolder:
    """Check an exported folder and read its config.

    ``skip_onnx_checksum`` leaves the model file to :meth:`ModelFolder.read_onnx`, which checks it.

    Raises :class:`ModelFolderError` if a file is missing, differs from its checksum or is
    malformed, or the folder has a newer format.
    """
    checksums = _read_json(folder / CHECKSUMS_FILE)
    for name in CHECKED_FILES:
        if name == ONNX_FILE and skip_onnx_checksum and name in checksums:
            continue
        if checksums.get(name) != _sha256(folder / name):
            raise _differs(folder / name)
    config = _read_json(folder / CONFIG_FILE)
    version = config.get("format_version")
    if type(version) is int and version > FORMAT_VERSION:
        raise ModelFolderError(
            f"{folder}: has format {version}, this version reads {FORMAT_VERSION};"
            " update image-colorizer"
        )
    if version != FORMAT_VERSION:
        raise ModelFolderError(
            f"{folder / CONFIG_FILE}: format_version must be {FORMAT_VERSION}, got {version!r:.80};"
            " export the folder again"
        )
    _check_image_size(folder / CONFIG_FILE, config)
    return ModelFolder(folder, config, str(checksums[ONNX_FILE]))


def _check_image_size(path: Path, config: dict[str, Any]) -> None:
    preprocessing = config.get("preprocessing")
    size = preprocessing.get("image_size") if isinstance(preprocessing, dict) else None
    if type(size) is not int or not MIN_IMAGE_SIZE <= size <= MAX_IMAGE_SIZE:
        raise ModelFolderError(
            f"{path}: preprocessing.image_size must be a whole number of pixels from"
            f" {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}, got {size!r:.80}; export the folder again"
        )


def compute_checksums(folder: Path) -> dict[str, str]:
    """File name → SHA-256, for every file that is checked on loading."""
    return {name: _sha256(folder / name) for name in CHECKED_FILES}


def folder_fingerprint(folder: Path) -> str:
    """The SHA-256 of a folder's ``checksums.json``: equal for equal exports.

    Raises :class:`ModelFolderError` if they can't be read.
    """
    return _sha256(folder / CHECKSUMS_FILE)


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelFolderError(f"{path}: not JSON ({reason}); export the folder again") from None
    if not isinstance(value, dict):
        raise ModelFolderError(f"{path}: not a JSON object; export the folder again")
    return value


def _unreadable(path: Path, error: OSError) -> ModelFolderError:
    folder, advice = path.parent, "`dvc repro export` makes models/colorizer"
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return ModelFolderError(f"{path}: {error.strerror or error}")
    if not folder.exists():
        name = folder.as_posix()
        if _LIKE_AN_ADDRESS.fullmatch(name):
            advice = f"did you mean models:/{name.removeprefix('models:')}?"
        where = "" if folder.is_absolute() else f" in {Path.cwd()}"
        return ModelFolderError(f"no model folder {folder}{where}; {advice}")
    if not folder.is_dir():
        return ModelFolderError(f"{folder}: a model is a folder, not a file; {advice}")
    if path.name == CHECKSUMS_FILE:
        return ModelFolderError(f"{folder}: not an exported model: no {path.name}; {advice}")
    return ModelFolderError(f"{path}: no such file; export or download the folder again")


def _differs(path: Path) -> ModelFolderError:
    return ModelFolderError(
        f"{path}: differs from its checksum; export or download the folder again"
    )
