"""The models that are served: loaded, tested, and replaced while requests run.

Users choose a model by name: ``champion``, ``candidate``, ``previous``, or an exported
folder's own name. Every few seconds each name is resolved again; a new model is loaded and tested
while the old one serves, and replaces it only if it works. A request keeps the model that it
started with.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from colorizer.base.errors import ModelFolderError
from colorizer.base.names import printable
from colorizer.base.redaction import redact
from colorizer.model.folder import CARD_FILE, GRID_FILE, folder_fingerprint
from colorizer.model.registry import fetch_model, parse_address
from colorizer.runtime import Colorizer

ALIASES = ("champion", "candidate", "previous")
REFRESH_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that is served."""

    name: str
    label: str
    """For display: ``sketch-colorizer version 7``."""
    identity: str
    """Fingerprint of the model's files."""
    colorizer: Colorizer
    card: str
    grid: bytes
    is_stale: bool
    """The registry was unreachable, so the alias may have moved."""

    def describe(self) -> dict[str, Any]:
        """The model's facts as JSON values, for ``GET /model``."""
        config = self.colorizer.model.config
        evaluation = config.get("evaluation") or {}
        return {
            "name": self.name,
            "label": self.label,
            "identity": self.identity[:12],
            "image_size": self.colorizer.model.image_size,
            "takes_hints": self.colorizer.model.takes_hints,
            "has_variations": bool((config.get("noise") or {}).get("shapes")),
            "metrics": evaluation.get("generator") if isinstance(evaluation, dict) else None,
            "card": self.card,
            "note": self.colorizer.model.note,
            "is_stale": self.is_stale,
        }


class Models:
    """Name → model, refreshed by a background thread."""

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        threads: int | None = None,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self.sources = dict(sources)
        self.refresh_s = refresh_s
        self.threads = threads
        self.load_errors: dict[str, str] = {}
        """Name → why its newest model is not served."""
        self._served: dict[str, Served] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True, name="models")

    @property
    def names(self) -> Sequence[str]:
        """The names with a loaded model, the default first."""
        return tuple(name for name in self.sources if name in self._served)

    def get(self, name: str | None = None) -> Served | None:
        """The model of this name, or the default; None if there is none."""
        names = self.names
        wanted = name or (names[0] if names else "")
        return self._served.get(wanted)

    def start(self) -> None:
        """Load the models, then start the background thread."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stop the background thread."""
        self._closed.set()

    def refresh(self) -> None:
        """Resolve every name once, and replace the models that changed."""
        for name, source in self.sources.items():
            try:
                self._refresh_one(name, source)
            except Exception as error:  # a broken new model leaves the old one in place
                reason = str(error).splitlines()[0] if str(error) else repr(error)
                self.load_errors[name] = redact(reason)  # the page shows it
            else:
                self.load_errors.pop(name, None)

    def _refresh_one(self, name: str, source: str) -> None:
        folder, label, is_stale = resolve(source)
        identity = folder_fingerprint(folder)
        known = self._served.get(name)
        if known and (known.identity, known.is_stale, known.label) == (identity, is_stale, label):
            return
        colorizer = Colorizer.load(folder, threads=self.threads)
        check_output(colorizer)
        self._served[name] = Served(
            name=name,
            label=label,
            identity=identity,
            colorizer=colorizer,
            card=(folder / CARD_FILE).read_text(encoding="utf-8"),
            grid=(folder / GRID_FILE).read_bytes(),
            is_stale=is_stale,
        )

    def _keep_fresh(self) -> None:
        while not self._closed.wait(self.refresh_s):
            self.refresh()


def resolve(source: str) -> tuple[Path, str, bool]:
    """A source's folder, label and ``is_stale``. Raises :class:`ModelFolderError`."""
    if not source.startswith("models:/"):
        return Path(source), source, False
    found = fetch_model(source)
    return found.folder, f"{found.name} version {found.version}", found.is_stale


def check_output(colorizer: Colorizer) -> None:
    """Colour a blank sketch. Raises :class:`ModelFolderError` for values outside −1..1 or NaN."""
    size = colorizer.model.image_size
    values = colorizer.session.run(np.ones((1, 1, size, size), np.float32))
    if not np.isfinite(values).all() or np.abs(values).max() > 1.01:
        raise ModelFolderError(
            f"{colorizer.model.folder}: the output is not finite or outside −1..1"
        )


def choose_sources(model: str) -> dict[str, str]:
    """Name → source to serve: a folder or version alone; an alias with the other aliases.

    Raises :class:`ModelFolderError` for a malformed address of a registry.
    """
    if not model.startswith("models:/"):
        return {printable(Path(model).absolute().name) or "model": model}
    registered, alias, _ = parse_address(model)
    if alias is None:
        return {registered: model}
    others = [each for each in ALIASES if each != alias]
    return {each: f"models:/{registered}@{each}" for each in (alias, *others)}
