"""The runtime: an exported folder and a sketch in, a coloured picture out.

>>> from colorizer import Colorizer
>>> Colorizer.load("models/colorizer")("sketch.png").save("coloured.png")  # doctest: +SKIP

Needs numpy, onnxruntime and pillow. ``Colorizer`` is imported on first use, so that the stages
that share only ``colorizer.base.pixels`` don't depend on all of the runtime.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorizer.runtime import Colorizer as Colorizer

__all__ = ["Colorizer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("colorizer.runtime"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
