"""The models that answer: loaded, tried, and exchanged while requests run.

A name is what people choose by: ``champion``, ``candidate``, ``previous``, or ``folder`` for an
exported folder. What a name means is asked again every few seconds; a new model is loaded and
tried beside the old one, and takes its place only if it works. Requests keep the one that they
began with.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from colorizer.base.errors import ModelFolderError
from colorizer.model.folder import CARD_FILE, GRID_FILE, identify
from colorizer.runtime import Colorizer

ALIASES = ("champion", "candidate", "previous")
FOLDER = "folder"
REFRESH_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that answers."""

    name: str
    label: str
    """As people are told it: ``sketch-colorizer version 7``."""
    identity: str
    """Changes with the model's files."""
    colorizer: Colorizer
    card: str
    grid: bytes
    is_stale: bool
    """The registry couldn't be asked whether it's still this one."""

    def describe(self) -> dict[str, Any]:
        """JSON of what people want to know of it."""
        config = self.colorizer.model.config
        evaluation = config.get("evaluation") or {}
        return {
            "name": self.name,
            "label": self.label,
            "identity": self.identity[:12],
            "image_size": self.colorizer.model.image_size,
            "has_variations": bool((config.get("noise") or {}).get("shapes")),
            "metrics": evaluation.get("generator") if isinstance(evaluation, dict) else None,
            "card": self.card,
            "is_stale": self.is_stale,
        }


class Models:
    """Name → model, kept fresh by a thread of its own."""

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
        self.complaints: dict[str, str] = {}
        """Name → why its newest model is not the one that answers."""
        self._served: dict[str, Served] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, daemon=True, name="models")

    @property
    def names(self) -> Sequence[str]:
        """Those that answer now, the default first."""
        return tuple(name for name in self.sources if name in self._served)

    def get(self, name: str | None = None) -> Served | None:
        """The model of this name, or the default one; None if there is none."""
        names = self.names
        wanted = name or (names[0] if names else "")
        return self._served.get(wanted)

    def start(self) -> None:
        """Load what there is, then go on looking."""
        self.refresh()
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._over.set()

    def refresh(self) -> None:
        """Look once at what every name means, and exchange what has changed."""
        for name, source in self.sources.items():
            try:
                self._refresh_one(name, source)
            except Exception as error:  # whatever is wrong with a new one, the old one goes on
                self.complaints[name] = str(error).splitlines()[0] if str(error) else repr(error)
            else:
                self.complaints.pop(name, None)

    def _refresh_one(self, name: str, source: str) -> None:
        folder, label, is_stale = resolve(source)
        identity = identify(folder)
        known = self._served.get(name)
        if known and (known.identity, known.is_stale, known.label) == (identity, is_stale, label):
            return
        colorizer = Colorizer.load(folder, threads=self.threads)
        try_out(colorizer)
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
        while not self._over.wait(self.refresh_s):
            self.refresh()


def resolve(source: str) -> tuple[Path, str, bool]:
    """Folder, label and staleness of a source. Raises :class:`ModelFolderError` if it has none."""
    if not source.startswith("models:/"):
        return Path(source), source, False
    from colorizer.model.registry import fetch_model

    found = fetch_model(source)
    return found.folder, f"{found.name} version {found.version}", found.is_stale


def try_out(colorizer: Colorizer) -> None:
    """Colour a blank sketch. Raises :class:`ModelFolderError` if nothing sane comes of it."""
    size = colorizer.model.image_size
    values = colorizer.session.run(np.ones((1, 1, size, size), np.float32))
    if not np.isfinite(values).all() or np.abs(values).max() > 1.01:
        raise ModelFolderError(f"{colorizer.model.folder}: gives values that are no colours")


def choose_sources(model: str) -> dict[str, str]:
    """What a model's address offers: a folder itself, an alias also its siblings."""
    if not model.startswith("models:/") or "@" not in model:
        return {FOLDER: model}
    registered, _, alias = model.partition("@")
    others = [each for each in ALIASES if each != alias]
    return {each: f"{registered}@{each}" for each in (alias, *others)}
