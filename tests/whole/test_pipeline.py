"""The whole pipeline as a user runs it, at a small size: a clone, real DVC, MLflow on SQLite."""

import json
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline_steps.scores.definitions import METRICS
from tests.whole.clone import REGISTER, Clone, make_small_clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def make_clone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Clone]:
    return lambda name: make_small_clone(
        tmp_path_factory.mktemp(name) / "repository", with_hints=True
    )


@pytest.fixture(scope="module")
def reproduced(make_clone: Callable[[str], Clone]) -> tuple[Clone, str]:
    """A clone in which ``dvc repro`` has run, with hints, and its output."""
    clone = make_clone("done")
    return clone, clone.dvc("repro")


@pytest.fixture(scope="module")
def registered(reproduced: tuple[Clone, str]) -> Clone:
    """The same clone with its model registered and dvc.lock committed."""
    clone, _ = reproduced
    clone.run(*REGISTER)
    clone.commit()
    return clone


def test_repro_ends_by_printing_how_to_register(reproduced: tuple[Clone, str]) -> None:
    _, printed = reproduced
    export = printed[printed.index("Running stage 'export'") :]
    lines = export[: export.index("Updating lock file")].strip().splitlines()
    assert "python -m pipeline_steps register" in lines[-1]


def test_repro_and_register_evaluate_export_and_register_a_generator(registered: Clone) -> None:
    evaluation = registered.json("metrics/evaluation.json")
    methods = {"generator", "copy_sketch", "white", "train_mean"}
    assert set(evaluation) == methods | {"test_pairs", "kid", "line_styles", "hints"}
    assert set(evaluation["generator"]) == set(METRICS)
    assert set(evaluation["kid"]) == methods
    assert evaluation["test_pairs"] == 6
    (version,) = registered.versions()
    assert version["aliases"] == ["candidate"]
    assert version["tags"]["model_sha256"] == registered.sha256("models/colorizer/generator.onnx")


def test_hints_are_evaluated_and_used(registered: Clone, tmp_path: Path) -> None:
    evaluation = registered.json("metrics/evaluation.json")["hints"]
    assert set(evaluation["by_count"]) == {"0", "1", "2", "5", "10", "20", "50"}
    assert set(evaluation["obedience"]) == {"at_hint", "in_region", "elsewhere", "across_ink"}
    table = (registered.folder / "reports/evaluate/hints.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in table] == ["hints", "0", "1", "2", "5", "10", "20", "50"]
    assert registered.json("models/colorizer/config.json")["hints"] == "points"
    sketch = Image.new("RGB", (80, 60), "white")
    sketch.paste("black", (10, 10, 70, 12))
    sketch.save(tmp_path / "sketch.png")
    command = [sys.executable, "-m", "colorizer", str(tmp_path / "sketch.png")]
    for name, hints in (("plain", []), ("hinted", ["--hint", "40,40,#2244aa"])):
        registered.run(*command, *hints, "-o", str(tmp_path / f"{name}.png"))
    coloured = Image.open(tmp_path / "hinted.png")
    assert np.abs(np.array(coloured.getpixel((40, 40))) - (34, 68, 170)).max() <= 6
    assert coloured.tobytes() != Image.open(tmp_path / "plain.png").tobytes()


def test_a_second_repro_runs_no_stage(registered: Clone) -> None:
    printed = registered.dvc("repro")
    assert printed.count("didn't change, skipping") == 5
    assert "Running stage" not in printed
    assert "up to date" in registered.dvc("status")


@pytest.mark.parametrize(
    ("file", "first_changed"),
    [
        ("pipeline_steps/evaluate/grids.py", "evaluate"),
        ("pipeline_steps/export/model_card.py", "export"),
        ("pipeline_steps/train/losses.py", "train"),
        ("pipeline_steps/prepare/report.py", "prepare"),
        ("colorizer/look/palette.py", None),
        ("colorizer/studio/static/index.html", None),
        ("pipeline_steps/register/command.py", None),
        ("flows/retrain.py", None),
    ],
)
def test_an_edit_invalidates_the_first_stage_that_uses_the_file(
    registered: Clone, file: str, first_changed: str | None
) -> None:
    path = registered.folder / file
    source = path.read_text()
    path.write_text(source + "\n# edited\n")
    try:
        status = json.loads(registered.dvc("status", "--json"))
    finally:
        path.write_text(source)
    edited = [
        stage
        for stage, changes in status.items()
        if any(
            Path(file).is_relative_to(dep)
            for change in changes
            if isinstance(change, dict)
            for dep in change.get("changed deps", {})
        )
    ]
    assert next(iter(edited), None) == first_changed


def test_python_bytecode_invalidates_no_stage(registered: Clone) -> None:
    cache = registered.folder / "pipeline_steps" / "train" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "new.cpython-311.pyc").write_bytes(b"compiled")
    assert "up to date" in registered.dvc("status")


def test_dvc_shows_metrics_params_plots_and_the_graph(registered: Clone) -> None:
    metrics = json.loads(registered.dvc("metrics", "show", "--json"))[""]["data"]
    # constants of the data, as counts and the baselines' scores, would be columns that never change
    assert set(metrics) == {"metrics/training.json", "metrics/test.json"}
    evaluation = registered.json("metrics/evaluation.json")
    obedience = {f"hint_{name}" for name in evaluation["hints"]["obedience"]}
    extra = {"kid", "worst_line_style"} | obedience
    tested = metrics["metrics/test.json"]["data"]
    assert {k: v for k, v in tested.items() if k not in extra} == evaluation["generator"]
    assert extra <= set(tested)
    assert "evaluate" in registered.dvc("dag")
    page = registered.dvc("plots", "show").strip().splitlines()[-1]
    html = Path(page.removeprefix("file://")).read_text()
    assert "loss_discriminator" in html
    assert html.count("<img") >= 5
    registered.set_params({"train": {"epochs": 3}})
    try:
        assert "train.epochs" in registered.dvc("params", "diff")
    finally:
        registered.set_params({"train": {"epochs": 2}})


def test_the_registered_version_names_its_commit_data_params_and_metrics(registered: Clone) -> None:
    script = """
import json, mlflow
from pipeline_steps.tracking.mlflow_server import connect
client = connect()
version = client.get_model_version_by_alias("sketch-colorizer", "candidate")
run = client.get_run(version.run_id)
print(json.dumps(dict(
    version_tags=version.tags, params=run.data.params, metrics=run.data.metrics,
    tags=run.data.tags, datasets=[i.dataset.name for i in run.inputs.dataset_inputs],
    epochs=len(client.get_metric_history(version.run_id, "val/l1")),
    artifacts=[a.path for a in client.list_artifacts(version.run_id)],
)))
"""
    found = json.loads(registered.run(sys.executable, "-c", script).stdout.splitlines()[-1])
    head = registered.run("git", "rev-list", "--max-parents=0", "HEAD").stdout.strip()
    assert found["version_tags"]["git_commit"] == head
    assert found["version_tags"]["git_dirty"] == "false"
    dataset = registered.json("data/prepared/dataset.json")
    assert found["version_tags"]["data_fingerprint"] == dataset["fingerprint"]
    assert found["params"]["train.epochs"] == "2"
    evaluation = registered.json("metrics/evaluation.json")
    assert found["metrics"]["test/l1"] == evaluation["generator"]["l1"]
    assert float(found["version_tags"]["generator.l1"]) == evaluation["generator"]["l1"]
    assert sorted(found["datasets"]) == ["train", "val"]
    assert found["epochs"] == 2
    assert {"evaluation", "environment.json", "strips.png", "pipeline"} <= set(found["artifacts"])


def test_the_registered_model_equals_the_exported_folder(registered: Clone) -> None:
    script = """
import mlflow.onnx, numpy as np, onnxruntime
from colorizer import Colorizer
from pipeline_steps.tracking.mlflow_server import connect
connect()
model = mlflow.onnx.load_model("models:/sketch-colorizer@candidate")
session = onnxruntime.InferenceSession(
    model.SerializeToString(), providers=["CPUExecutionProvider"])
sketch = np.random.default_rng(1).uniform(-1, 1, (3, 1, 32, 32)).astype(np.float32)
hints = np.zeros((3, 4, 32, 32), np.float32)
(from_registry,) = session.run(None, {"sketch": sketch, "hints": hints})
assert np.array_equal(from_registry, Colorizer.load("models/colorizer").session.run(sketch))
folder = mlflow.artifacts.download_artifacts("models:/sketch-colorizer@candidate")
import pathlib; print(sorted(p.name for p in pathlib.Path(folder, "extra_files").iterdir()))
"""
    printed = registered.run(sys.executable, "-c", script).stdout
    assert "generator.safetensors" in printed
    assert "config.json" in printed


def test_registering_again_changes_nothing(registered: Clone) -> None:
    printed = registered.run(*REGISTER).stdout
    assert "had this model already as version 1" in printed
    assert len(registered.versions()) == 1


def test_a_fresh_clone_pulls_and_registers_on_an_empty_server(
    registered: Clone, tmp_path: Path
) -> None:
    registered.dvc("remote", "add", "-f", "-d", "shelf", str(tmp_path / "shelf"))
    registered.commit()
    registered.dvc("push")
    fresh = registered.copy_to(tmp_path / "fresh")
    fresh.dvc("pull")
    assert "Running stage" not in fresh.dvc("repro")
    for state in ("is now version 1", "had this model already as version 1"):
        assert state in fresh.run(*REGISTER).stdout
    (version,) = fresh.versions()
    assert version["tags"]["generator.l1"] == registered.versions()[0]["tags"]["generator.l1"]


def test_a_tagged_version_is_fetched_as_a_dvc_artifact(registered: Clone, tmp_path: Path) -> None:
    clone = registered.copy_to(tmp_path / "tagged")
    registered.dvc("remote", "add", "-f", "-d", "shelf", str(tmp_path / "shelf"))
    registered.dvc("push", "models/colorizer")
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    clone.dvc("remote", "add", "-f", "-d", "shelf", str(tmp_path / "shelf"))
    clone.commit()
    clone.run("git", *identity, "tag", "-a", "sketch-colorizer@v1.0.0", "-m", "first")
    elsewhere = Clone(tmp_path)
    elsewhere.dvc("artifacts", "get", str(clone.folder), "sketch-colorizer", "--rev", "v1.0.0")
    fetched = Clone(tmp_path / "colorizer")
    assert fetched.sha256("generator.onnx") == registered.sha256("models/colorizer/generator.onnx")


def test_an_experiment_runs_with_a_changed_param_and_is_compared(
    registered: Clone, tmp_path: Path
) -> None:
    clone = registered.copy_to(tmp_path / "experiment", shares_cache=True)
    clone.run("git", "config", "user.name", "t")
    clone.run("git", "config", "user.email", "t@t")
    clone.dvc("exp", "run", "-S", "train.epochs=1")
    assert clone.json("metrics/training.json")["epochs"] == 1
    assert "train.epochs" in clone.dvc("params", "diff")


def test_the_same_commit_in_another_clone_gives_the_same_bytes(
    registered: Clone, tmp_path: Path
) -> None:
    again = registered.copy_to(tmp_path / "again")
    again.dvc("repro")
    for file in (
        "data/raw/pairs.zip",
        "data/prepared/train.npy",
        "models/generator.safetensors",
        "models/generator_last.safetensors",
        "models/colorizer/generator.onnx",
        "models/colorizer/checksums.json",
        "metrics/evaluation.json",
        "reports/train/history.csv",
    ):
        assert again.sha256(file) == registered.sha256(file), file


@pytest.fixture
def silent_server() -> Iterator[tuple[str, list[str]]]:
    """A server that closes each connection without a response, and the requests' first lines."""
    requests: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            requests.append(self.rfile.readline().decode().strip())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
            thread.join()


def test_an_unavailable_mlflow_server_is_reported_before_any_work(
    registered: Clone, silent_server: tuple[str, list[str]]
) -> None:
    address, requests = silent_server
    failed = registered.run(
        sys.executable,
        "-m",
        "pipeline_steps",
        "train",
        check=False,
        environment={"MLFLOW_TRACKING_URI": f"http://user:secret@{address}"},
    )
    assert failed.returncode == 75  # EX_TEMPFAIL: may be retried
    assert requests == ["GET /health HTTP/1.1"]  # no retries, which would take minutes
    assert failed.stdout == ""
    (line,) = failed.stderr.strip().splitlines()
    assert line.startswith(f"error: no MLflow server answers at http://{address} ")
    assert "MLFLOW_TRACKING_URI" in line
    assert "secret" not in failed.stdout + failed.stderr


def test_an_invalid_param_is_reported_in_one_line(registered: Clone) -> None:
    registered.set_params({"train": {"batch_size": 0}})
    try:
        failed = registered.run(sys.executable, "-m", "pipeline_steps", "train", check=False)
    finally:
        registered.set_params({"train": {"batch_size": 4}})
    assert failed.returncode == 1
    assert failed.stderr.strip() == "error: train.batch_size: must be ≥ 1, got 0"


def test_a_sketch_is_coloured_from_the_command_line(registered: Clone, tmp_path: Path) -> None:
    from PIL import Image

    sketch = np.full((40, 60), 255, np.uint8)
    sketch[10:12] = 0
    Image.fromarray(sketch).save(tmp_path / "sketch.png")
    registered.run(
        sys.executable,
        "-m",
        "colorizer",
        str(tmp_path / "sketch.png"),
        "-o",
        str(tmp_path / "out.png"),
    )
    with Image.open(tmp_path / "out.png") as coloured:
        assert coloured.size == (60, 40)
        assert coloured.mode == "RGB"
