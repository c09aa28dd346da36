"""The runtime: an exported folder and a sketch → a coloured picture. Knows no training.

>>> from colorizer import Colorizer
>>> Colorizer.load("models/colorizer")("sketch.png").save("coloured.png")  # doctest: +SKIP

Needs numpy, onnxruntime and pillow. ``Colorizer``, ``ColorizeOptions`` and ``Hint`` are imported on
first use, so that importing ``colorizer.base`` alone doesn't import the rest of the runtime.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorizer.hints.hint import Hint as Hint
    from colorizer.runtime import ColorizeOptions as ColorizeOptions
    from colorizer.runtime import Colorizer as Colorizer

__all__ = ["ColorizeOptions", "Colorizer", "Hint"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "colorizer.hints.hint" if name == "Hint" else "colorizer.runtime"
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
