"""``params.yaml``, typed and checked at the door: a bad key or value is refused by name.

``python -m pipeline_steps params`` checks it alone, before DVC reads it.
"""

import dataclasses
import math
import reprlib
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from pipeline_steps.base.errors import ParamError

PARAMS_FILE = Path("params.yaml")
MAX_FILE_BYTES = 1 << 20
MAX_SHOWN_CHARS = 80
"""Of a refused value; it may be long, and hold itself many times over."""
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_SHOWN_CHARS


@dataclass(frozen=True)
class Between:
    """Bounds of a number, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class PowerOfTwo:
    """An integer that can be halved down to 1, within bounds."""

    low: int
    high: int


Count = Annotated[int, Between(1, 1_000_000)]
Width = Annotated[int, Between(4, 512)]
Fraction = Annotated[float, Between(0.0, 1.0)]
LearningRate = Annotated[float, Between(0.0, 1.0)]
Margin = Annotated[float, Between(0.0, 1000.0)]
Seed = Annotated[int, Between(0, 2**31 - 1)]


@dataclass(frozen=True, kw_only=True)
class DownloadParams:
    """Which pairs to take, and from where."""

    source: Literal["sample", "kaggle", "archive"]
    path: str | None
    kaggle_dataset: str
    max_members: Annotated[int, Between(1, 100_000_000)]
    max_unpacked_gb: Annotated[float, Between(0.001, 1e6)]
    sample_train_pairs: Count
    sample_test_pairs: Count
    sample_seed: Seed


@dataclass(frozen=True, kw_only=True)
class PrepareParams:
    """How raw pairs become packed ones."""

    image_size: Annotated[int, PowerOfTwo(32, 2048)]
    sketch_side: Literal["auto", "left", "right"]
    val_fraction: Annotated[float, Between(0.001, 0.5)]
    test_fraction: Annotated[float, Between(0.001, 0.5)]
    near_duplicate_distance: Annotated[int, Between(0, 15)]
    max_picture_pixels: Annotated[int, Between(4096, 1_000_000_000)]


@dataclass(frozen=True, kw_only=True)
class TrainParams:
    """pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3 and appendix 6.2)."""

    epochs: Count
    batch_size: Annotated[int, Between(1, 4096)]
    seed: Seed
    generator_width: Width
    discriminator_width: Width
    discriminator_layers: Annotated[int, Between(1, 6)]
    normalization: Literal["batch", "instance"]
    dropout: Annotated[float, Between(0.0, 0.9)]
    gan_loss: Literal["bce", "lsgan", "hinge"]
    l1_weight: Annotated[float, Between(0.0, 1e6)]
    generator_lr: LearningRate
    discriminator_lr: LearningRate
    adam_beta1: Annotated[float, Between(0.0, 0.9999)]
    adam_beta2: Annotated[float, Between(0.0, 0.999999)]
    lr_decay_fraction: Fraction
    load_size: Annotated[int, Between(32, 4096)]
    horizontal_flip: bool
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    compile: Literal["auto", True, False]
    accumulation_steps: Annotated[int, Between(1, 4096)]
    sample_every_epochs: Count
    sample_pairs: Annotated[int, Between(1, 64)]
    checkpoint_interval_s: Annotated[float, Between(0.0, 86_400.0)]
    collapse_epochs: Annotated[int, Between(0, 1_000_000)]
    keep_unfinished: Annotated[int, Between(0, 1_000_000)]
    keep_unfinished_days: Annotated[float, Between(0.0, 100_000.0)]


@dataclass(frozen=True, kw_only=True)
class EvaluateParams:
    """How the test set is scored and shown."""

    batch_size: Annotated[int, Between(1, 4096)]
    grid_pairs: Annotated[int, Between(1, 64)]
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class ExportParams:
    """What an exported generator must live up to."""

    max_onnx_difference: Annotated[float, Between(0.0, 2.0)]
    check_pairs: Annotated[int, Between(1, 4096)]
    data_licence: str


@dataclass(frozen=True, kw_only=True)
class TrackingParams:
    """Names in MLflow. Where MLflow is, ``MLFLOW_TRACKING_URI`` says."""

    experiment: str
    registered_model: str


@dataclass(frozen=True, kw_only=True)
class MarginParams:
    """How much worse a challenger may be, in each metric's own units."""

    l1: Margin
    psnr: Margin
    ssim: Margin
    chroma: Margin


@dataclass(frozen=True, kw_only=True)
class PromotionParams:
    """When a challenger becomes the champion. Read by ``flows``, by no stage."""

    primary_metric: Literal["l1", "psnr", "ssim", "chroma"]
    min_improvement: Annotated[float, Between(0.0, 1.0)]
    margins: MarginParams
    confidence: Annotated[float, Between(0.5, 0.9999)]
    resamples: Annotated[int, Between(100, 1_000_000)]
    seed: Seed
    min_test_pairs: Count
    slice_margin: Annotated[float, Between(0.0, 10.0)]
    min_slice_pairs: Count
    max_latency_ms: Annotated[float, Between(1.0, 600_000.0)]


@dataclass(frozen=True, kw_only=True)
class Params:
    """All of ``params.yaml``: one section a stage, and promotion."""

    download: DownloadParams
    prepare: PrepareParams
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    tracking: TrackingParams
    promotion: PromotionParams


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check ``params.yaml``; raises :class:`ParamError` naming the key."""
    return check_params(load_yaml(path))


def check_params(tree: Any) -> Params:
    """Check a tree as YAML gives it. Raises :class:`ParamError`, the key's dotted name in front."""
    params: Params = _parse_section(Params, tree, "")
    if params.train.load_size < params.prepare.image_size:
        raise ParamError(
            f"train.load_size: must be ≥ prepare.image_size ({params.prepare.image_size}),"
            f" got {params.train.load_size}"
        )
    if params.train.batch_size % params.train.accumulation_steps:
        raise ParamError(
            f"train.accumulation_steps: must divide train.batch_size ({params.train.batch_size}),"
            f" got {params.train.accumulation_steps}"
        )
    if params.download.source == "archive" and not params.download.path:
        raise ParamError("download.path: must name a zip, tar or folder when source is archive")
    return params


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dataclasses or dicts → one dict with dotted names: ``{"train.epochs": 40, …}``."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        tree = dataclasses.asdict(tree)
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat


def load_yaml(path: Path) -> Any:
    """Read a YAML file of params.

    Raises :class:`ParamError` if it is missing, no YAML, larger than any params need, names a key
    twice, or has aliases: a page of those can stand for more values than memory holds.
    """
    if not path.exists():
        raise ParamError(f"{path}: no such file; run from the repository's root")
    if not path.is_file():
        raise ParamError(f"{path}: not a file; put the repository's params.yaml there again")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ParamError(f"{path}: larger than {MAX_FILE_BYTES} bytes, which no params need")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ParamError(f"{path}: not YAML as params are written ({_reason(error)})") from None


def parse_yaml(text: str) -> Any:
    """Parse YAML as params are written.

    Raises :class:`ValueError` or :class:`RecursionError` on anything else.
    """
    try:
        return yaml.load(text, _ParamsLoader)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from None


class _ParamsLoader(yaml.SafeLoader):
    """YAML's plain values, without aliases and without a key said twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose as YAML says, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"an alias in line {mark.line + 1}: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Construct as YAML says, but for keys said twice."""
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"key {_short(key.value)} in line {line} is said twice")
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return _shorten(" ".join(str(error).split()), 200)


def _key(key: Any) -> str:
    return _shorten(str(key) if isinstance(key, str) else _REPR.repr(key), MAX_SHOWN_CHARS)


def _short(value: Any) -> str:
    """A value as it's written, fit for one line."""
    return _shorten(_REPR.repr(value), MAX_SHOWN_CHARS)


def _shorten(text: str, num_chars: int) -> str:
    return text if len(text) <= num_chars else f"{text[: num_chars - 1]}…"


def _parse_section(section: Any, tree: Any, name: str) -> Any:
    where = name.rstrip(".") or "params.yaml"
    if not isinstance(tree, dict):
        raise ParamError(f"{where}: must be a section of keys, got {_short(tree)}")
    hints = typing.get_type_hints(section, include_extras=True)
    for key in tree:
        if key not in hints:
            raise ParamError(f"{name}{_key(key)}: unknown key; {where} takes {', '.join(hints)}")
    for key in hints:
        if key not in tree:
            raise ParamError(f"{name}{key}: missing")
    return section(**{key: _parse(hint, tree[key], f"{name}{key}") for key, hint in hints.items()})


def _parse(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _parse_section(hint, value, f"{name}.")
    if typing.get_origin(hint) is Annotated:
        base, *rules = typing.get_args(hint)
        value = _parse(base, value, name)
        for rule in rules:
            _check_rule(rule, value, name)
        return value
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if not any(value == choice and type(value) is type(choice) for choice in choices):
            names = " or ".join(str(choice).lower() for choice in choices)
            raise ParamError(f"{name}: must be {names}, got {_short(value)}")
        return value
    return _parse_plain(hint, value, name)


def _parse_plain(hint: Any, value: Any, name: str) -> Any:
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise ParamError(f"{name}: must be {wanted}, got {_short(value)}")
    return value


def _check_rule(rule: Any, value: Any, name: str) -> None:
    if isinstance(rule, Between) and not (math.isfinite(value) and rule.low <= value <= rule.high):
        bound = f"≥ {rule.low:g}" if value < rule.low else f"≤ {rule.high:g}"
        raise ParamError(f"{name}: must be {bound}, got {_short(value)}")
    if isinstance(rule, PowerOfTwo) and not (
        value.bit_count() == 1 and rule.low <= value <= rule.high
    ):
        raise ParamError(
            f"{name}: must be a power of two from {rule.low} to {rule.high}, got {value}"
        )


def main() -> None:
    """Check ``params.yaml``."""
    read_params()
