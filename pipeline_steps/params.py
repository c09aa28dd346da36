"""``params.yaml`` as typed dataclasses; a wrong key or value is refused by name.

``python -m pipeline_steps params`` checks it alone, before DVC reads it.

The sections are stdlib dataclasses that pydantic validates in :func:`check_params`. pydantic is
imported only there: the trainer is given its params, on machines without pydantic too.
"""

import dataclasses
import reprlib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml

from pipeline_steps.base.errors import ParamError

PARAMS_FILE = Path("params.yaml")
MAX_FILE_BYTES = 1 << 20
MAX_SHOWN_CHARS = 80
"""Of a refused value in a message."""
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_SHOWN_CHARS


class Constraint:
    """Metadata of a field that expands to pydantic's own when a schema is built.

    Implements ``annotated_types.GroupedMetadata`` without importing it.
    """

    __is_annotated_types_grouped_metadata__ = True


@dataclass(frozen=True)
class Between(Constraint):
    """Bounds of a number, both included. NaN is outside of any."""

    low: float
    high: float

    def __iter__(self) -> Iterator[Any]:
        from pydantic import Field

        yield Field(ge=self.low, le=self.high)


@dataclass(frozen=True)
class PowerOfTwo(Constraint):
    """1, 2, 4, 8 … within bounds, both included."""

    low: int
    high: int

    def __iter__(self) -> Iterator[Any]:
        from pydantic import AfterValidator

        yield AfterValidator(self.check)

    def check(self, value: int) -> int:
        """Return the value; raises :class:`ValueError` if it breaks the rule."""
        if value.bit_count() != 1 or not self.low <= value <= self.high:
            raise ValueError(f"must be a power of two from {self.low} to {self.high}")
        return value


class Section:
    """Base of the sections: no unknown keys, and no conversion but int to float."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"strict": True, "extra": "forbid"}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # strict for the values only: the section itself comes as a dict
        return {**handler(source), "strict": False}


Count = Annotated[int, Between(1, 1_000_000)]
Width = Annotated[int, Between(4, 512)]
Fraction = Annotated[float, Between(0.0, 1.0)]
LearningRate = Annotated[float, Between(0.0, 1.0)]
Margin = Annotated[float, Between(0.0, 1000.0)]
Seed = Annotated[int, Between(0, 2**31 - 1)]


@dataclass(frozen=True, kw_only=True)
class DownloadParams(Section):
    """Which pairs to download, and from where."""

    source: Literal["sample", "kaggle", "archive"]
    path: str | None
    kaggle_dataset: str
    max_members: Annotated[int, Between(1, 100_000_000)]
    max_unpacked_gb: Annotated[float, Between(0.001, 1e6)]
    sample_train_pairs: Count
    sample_test_pairs: Count
    sample_seed: Seed


@dataclass(frozen=True, kw_only=True)
class PrepareParams(Section):
    """How raw pairs become packed pairs."""

    engine: Literal["local", "ray"]
    image_size: Annotated[int, PowerOfTwo(32, 2048)]
    sketch_side: Literal["auto", "left", "right"]
    pair_checks: Literal["strict", "lenient", "off"]
    val_fraction: Annotated[float, Between(0.001, 0.5)]
    test_fraction: Annotated[float, Between(0.001, 0.5)]
    max_truth_difference: Annotated[int, Between(0, 100)]
    max_picture_pixels: Annotated[int, Between(4096, 1_000_000_000)]
    shards: str | None
    shard_pairs: Count


@dataclass(frozen=True, kw_only=True)
class TrainParams(Section):
    """pix2pix (Isola et al. 2017, arXiv:1611.07004, section 3 and appendix 6.2)."""

    epochs: Count
    batch_size: Annotated[int, Between(1, 4096)]
    seed: Seed
    generator_width: Width
    discriminator_width: Width
    discriminator_layers: Annotated[int, Between(1, 6)]
    normalization: Literal["batch", "instance"]
    darken_ink: bool
    upsampling: Literal["transposed", "bilinear"]
    bottleneck_px: Annotated[int, PowerOfTwo(1, 128)]
    dropout: Annotated[float, Between(0.0, 0.9)]
    hints: Literal["none", "points"]
    hints_start_fraction: Fraction
    gan_loss: Literal["bce", "lsgan", "hinge"]
    l1_weight: Annotated[float, Between(0.0, 1e6)]
    generator_lr: LearningRate
    discriminator_lr: LearningRate
    adam_beta1: Annotated[float, Between(0.0, 0.9999)]
    adam_beta2: Annotated[float, Between(0.0, 0.999999)]
    lr_decay_fraction: Fraction
    adversarial_start_fraction: Fraction
    load_size: Annotated[int, Between(32, 4096)]
    horizontal_flip: bool
    shuffle_shards: Annotated[int, Between(0, 1_000_000)]
    line_styles: Fraction
    line_styles_start_fraction: Fraction
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "float32", "bfloat16"]
    compile: Literal["auto"] | bool
    accumulation_steps: Annotated[int, Between(1, 4096)]
    processes: Annotated[int, Between(1, 4096)]
    engine: Literal["local", "ray"]
    sample_every_epochs: Count
    sample_pairs: Annotated[int, Between(1, 64)]
    checkpoint_interval_s: Annotated[float, Between(0.0, 86_400.0)]
    collapse_epochs: Annotated[int, Between(0, 1_000_000)]
    keep_unfinished: Annotated[int, Between(0, 1_000_000)]
    keep_unfinished_days: Annotated[float, Between(0.0, 100_000.0)]


@dataclass(frozen=True, kw_only=True)
class ScoresParams(Section):
    """What pictures are scored by, besides what needs no weights; in training, evaluation and
    promotion."""

    st_lpips: bool
    inception_weights: str | None


@dataclass(frozen=True, kw_only=True)
class EvaluateParams(Section):
    """How the test set is scored and its grids are drawn."""

    batch_size: Annotated[int, Between(1, 4096)]
    grid_pairs: Annotated[int, Between(1, 64)]
    seed: Seed


@dataclass(frozen=True, kw_only=True)
class ExportParams(Section):
    """What an exported generator is checked for."""

    max_onnx_difference: Annotated[float, Between(0.0, 2.0)]
    check_pairs: Annotated[int, Between(1, 4096)]
    data_licence: str


@dataclass(frozen=True, kw_only=True)
class TrackingParams(Section):
    """Names in MLflow; its address is ``MLFLOW_TRACKING_URI``."""

    experiment: str
    registered_model: str
    register_experiments: bool


@dataclass(frozen=True, kw_only=True)
class MarginParams(Section):
    """How much worse a challenger may be, in each metric's own units."""

    l1: Margin
    psnr: Margin
    ssim: Margin
    chroma: Margin
    st_lpips: Margin
    scatter: Margin
    leak: Margin


@dataclass(frozen=True, kw_only=True)
class PromotionParams(Section):
    """When a challenger becomes the champion; read by ``flows``, by no stage."""

    primary_metric: Literal["l1", "psnr", "ssim", "chroma", "st_lpips", "scatter", "leak"]
    min_improvement: Annotated[float, Between(0.0, 1.0)]
    margins: MarginParams
    confidence: Annotated[float, Between(0.5, 0.9999)]
    resamples: Annotated[int, Between(100, 1_000_000)]
    seed: Seed
    min_test_pairs: Count
    slice_margin: Annotated[float, Between(0.0, 10.0)]
    min_slice_pairs: Count
    max_latency_ms: Annotated[float, Between(1.0, 600_000.0)]
    max_hint_distance: Annotated[float, Between(0.0, 500.0)]


@dataclass(frozen=True, kw_only=True)
class Params(Section):
    """All of ``params.yaml``: one section per stage, tracking and promotion."""

    download: DownloadParams
    prepare: PrepareParams
    train: TrainParams
    scores: ScoresParams
    evaluate: EvaluateParams
    export: ExportParams
    tracking: TrackingParams
    promotion: PromotionParams


def read_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check ``params.yaml``; raises :class:`ParamError` naming the key."""
    return check_params(load_yaml(path))


def check_params(tree: Any) -> Params:
    """Check a tree of params, as parsed from YAML.

    Raises :class:`ParamError`, whose message begins with the key's dotted name.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        params = TypeAdapter(Params).validate_python(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the former says more
        first = min(error.errors(), key=lambda found: _PRIORITY.get(found["type"], 2))
        raise ParamError(_describe(first)) from None
    if params.train.load_size < params.prepare.image_size:
        raise ParamError(
            f"train.load_size: must be ≥ prepare.image_size ({params.prepare.image_size}),"
            f" got {params.train.load_size}"
        )
    if params.train.bottleneck_px > params.prepare.image_size // 8:
        raise ParamError(
            f"train.bottleneck_px: must be ≤ {params.prepare.image_size // 8}, an eighth of"
            f" prepare.image_size, got {params.train.bottleneck_px}"
        )
    if params.train.batch_size % params.train.accumulation_steps:
        raise ParamError(
            f"train.accumulation_steps: must divide train.batch_size ({params.train.batch_size}),"
            f" got {params.train.accumulation_steps}"
        )
    if params.train.batch_size % (params.train.processes * params.train.accumulation_steps):
        raise ParamError(
            f"train.processes: times accumulation_steps, must divide train.batch_size"
            f" ({params.train.batch_size}), got {params.train.processes}"
        )
    if params.promotion.primary_metric == "st_lpips" and not params.scores.st_lpips:
        raise ParamError("promotion.primary_metric: st_lpips needs scores.st_lpips: true")
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

    Raises :class:`ParamError` if it is missing, not YAML, larger than ``MAX_FILE_BYTES``, or has
    duplicate keys or aliases: a page of aliases can expand to more values than memory holds.
    """
    if not path.exists():
        raise ParamError(f"{path}: no such file; run from the repository's root")
    if not path.is_file():
        raise ParamError(f"{path}: not a file; restore it with `git checkout params.yaml`")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ParamError(f"{path}: larger than {MAX_FILE_BYTES} bytes, the most for params")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ParamError(f"{path}: not valid YAML for params ({_reason(error)})") from None


def parse_yaml(text: str) -> Any:
    """Parse YAML of plain values, without aliases or duplicate keys.

    Raises :class:`ValueError`, or :class:`RecursionError` if it's nested too deeply.
    """
    try:
        return yaml.load(text, _ParamsLoader)
    except yaml.YAMLError as error:
        raise ValueError(_reason(error)) from None


class _ParamsLoader(yaml.SafeLoader):
    """Loads plain values; refuses aliases and duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless it is an alias."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"an alias in line {mark.line + 1}: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Construct a mapping, unless a key appears twice."""
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"key {_short_repr(key.value)} in line {line} appears twice")
        return super().construct_mapping(node, deep)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return _shorten(" ".join(str(error).split()), 200)


def _short_repr(value: Any) -> str:
    """The value's repr, shortened."""
    return _shorten(_REPR.repr(value), MAX_SHOWN_CHARS)


def _shorten(text: str, num_chars: int) -> str:
    return text if len(text) <= num_chars else f"{text[: num_chars - 1]}…"


_PRIORITY = {"unexpected_keyword_argument": 0, "invalid_key": 0, "missing": 1}


def _describe(error: Any) -> str:
    """A pydantic error in one line: the key's dotted name, what it must be, what was given."""
    hint: Any = Params
    name, section, keys = "", "", list[str]()
    for key in error["loc"]:
        if not dataclasses.is_dataclass(hint):
            break  # the rest of the location is the alternative of a union
        hints = {field.name: field.type for field in dataclasses.fields(hint)}
        section, keys = name or PARAMS_FILE.name, list(hints)
        name = f"{name}.{_shorten(str(key), MAX_SHOWN_CHARS)}".lstrip(".")
        hint = hints.get(key)
    match error["type"]:
        case "unexpected_keyword_argument" | "invalid_key":
            return f"{name}: unknown key; {section} has {', '.join(keys)}"
        case "missing":
            return f"{name}: missing"
        case "dataclass_type":
            rule = "must be a section of keys"
        case "greater_than_equal":
            rule = f"must be ≥ {error['ctx']['ge']:g}"
        case "less_than_equal":
            rule = f"must be ≤ {error['ctx']['le']:g}"
        case "value_error":
            rule = str(error["ctx"]["error"])
        case _:
            rule = f"must be {_describe_type(hint)}"
    return f"{name or PARAMS_FILE.name}: {rule}, got {_short_repr(error['input'])}"


def _describe_type(hint: Any) -> str:
    """A field's type as its values are written: ``int``, ``str or null``, ``auto or true or …``."""
    if typing.get_origin(hint) is Annotated:
        return _describe_type(typing.get_args(hint)[0])
    choices = typing.get_args(hint)
    if not choices:
        name: str = {bool: "true or false", type(None): "null"}.get(hint, hint.__name__)
        return name
    return " or ".join(
        choice if isinstance(choice, str) else _describe_type(choice) for choice in choices
    )


def main() -> None:
    """Check ``params.yaml``."""
    read_params()
