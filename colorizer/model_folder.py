"""The exported folder: the one home of its format, for who writes it and who loads it.

generator.onnx          the model: sketch N×1×S×S → colour N×3×S×S, float32 in −1..1
generator.safetensors   the same weights, for further training
config.json             all preprocessing, and what the model was made from
checksums.json          sha256 of every other file
README.md, grid.png     the model card and what the model does on test pictures
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colorizer.errors import ModelFolderError

FORMAT_VERSION = 1
ONNX_FILE = "generator.onnx"
WEIGHTS_FILE = "generator.safetensors"
CONFIG_FILE = "config.json"
CHECKSUMS_FILE = "checksums.json"
CARD_FILE = "README.md"
GRID_FILE = "grid.png"
CHECKED_FILES = (ONNX_FILE, WEIGHTS_FILE, CONFIG_FILE, CARD_FILE, GRID_FILE)
INPUT_NAME = "sketch"
OUTPUT_NAME = "colour"


@dataclass(frozen=True)
class ModelFolder:
    """A folder whose files were all found to be what was exported."""

    folder: Path
    config: dict[str, Any]

    @property
    def onnx_path(self) -> Path:
        """The model file."""
        return self.folder / ONNX_FILE

    @property
    def image_size(self) -> int:
        """S: height and width in pixels that the model takes and gives."""
        return int(self.config["preprocessing"]["image_size"])


def open_model_folder(folder: Path) -> ModelFolder:
    """Check an exported folder and read its config.

    Raises :class:`ModelFolderError` if a file is missing, differs from its checksum, or the folder
    was written by a newer version.
    """
    checksums = _read_json(folder / CHECKSUMS_FILE)
    for name in CHECKED_FILES:
        if checksums.get(name) != sha256_of(folder / name):
            raise ModelFolderError(
                f"{folder / name}: differs from its checksum; export or download the folder again"
            )
    config = _read_json(folder / CONFIG_FILE)
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFolderError(
            f"{folder}: has format {version}, this version reads {FORMAT_VERSION};"
            " update image-colorizer"
        )
    return ModelFolder(folder, config)


def compute_checksums(folder: Path) -> dict[str, str]:
    """The sha256 of every file that is checked on loading."""
    return {name: sha256_of(folder / name) for name in CHECKED_FILES}


def sha256_of(path: Path) -> str:
    """Hash a file. Raises :class:`ModelFolderError` if it can't be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(
            f"{path}: {error.strerror or error}; `dvc repro export` makes the folder"
        ) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelFolderError(
            f"{path}: {error.strerror or error}; `dvc repro export` makes the folder"
        ) from None
    except ValueError as error:
        raise ModelFolderError(f"{path}: not JSON ({error}); export the folder again") from None
    if not isinstance(value, dict):
        raise ModelFolderError(f"{path}: not a JSON object; export the folder again")
    return value
