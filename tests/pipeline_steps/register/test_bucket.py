"""A registry whose files are in a bucket, to which the client has access by itself."""

import shutil
from pathlib import Path

import pytest

from colorizer.base import object_store
from colorizer.base.errors import ModelFolderError
from colorizer.base.files import file_sha256
from colorizer.model.registry import fetch_model
from colorizer.runtime import Colorizer
from flows.errors import PromotionError
from flows.promotion.versions import open_version
from pipeline_steps.base.errors import TrackingError, TrackingUnreachableError
from pipeline_steps.base.paths import EXPORTED_MODEL
from pipeline_steps.register import command
from pipeline_steps.tracking import mlflow_server
from tests.pipeline_steps.register.outputs import NAME, read_versions
from tests.s3_servers import S3Server
from tests.whole.prefect_stack import free_port

pytestmark = pytest.mark.filterwarnings("default")

LOCATION = "s3://pairs/mlflow"


@pytest.fixture
def clone(
    s3_store: S3Server, outputs: Path, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with the outputs, and a database whose experiment keeps its files in the bucket."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("COLORIZER_CACHE", str(in_folder / "cache"))
    shutil.copytree(outputs, in_folder, dirs_exist_ok=True)
    mlflow_server.connect().create_experiment(NAME, artifact_location=LOCATION)
    return in_folder


def test_a_model_is_registered_in_the_bucket_and_loaded_from_it(clone: Path) -> None:
    command.main()
    stored = {Path(each.address).name for each in object_store.list_files(LOCATION)}
    assert {"model.onnx", "generator.safetensors", "evaluation.json"} <= stored
    assert not list(clone.glob("mlruns/**/model.onnx"))
    fetched = fetch_model(f"models:/{NAME}@candidate")
    onnx = file_sha256(EXPORTED_MODEL / "generator.onnx")
    assert file_sha256(fetched.folder / "generator.onnx") == onnx
    assert Colorizer.load(f"models:/{NAME}@candidate").model.image_size == 32
    with open_version(NAME, 1) as colorizer:
        assert colorizer.model.image_size == 32

    for each in list(object_store.list_files(LOCATION)):
        object_store.delete(each.address)
    command.main()
    assert read_versions() == [1]
    shutil.rmtree(clone / "cache")
    assert fetch_model(f"models:/{NAME}@candidate").version == 1


def test_without_the_store_nothing_is_registered_and_a_fetched_model_is_used(
    s3_store: S3Server,
    clone: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gone = S3Server(f"http://127.0.0.1:{free_port()}")
    with monkeypatch.context() as patch:
        gone.use(patch)
        with pytest.raises(TrackingUnreachableError) as error:
            command.main()
        assert str(error.value) == (
            f"{LOCATION}: no answer from {gone.url} (no connection); start it, or correct"
            " AWS_ENDPOINT_URL, and run the same command again"
        )
    assert read_versions() == []
    command.main()
    fetch_model(f"models:/{NAME}/1")
    capsys.readouterr()

    with monkeypatch.context() as patch:
        gone.use(patch)
        assert not fetch_model(f"models:/{NAME}/1").is_stale  # its files are in the cache
        shutil.rmtree(clone / "cache")
        with pytest.raises(ModelFolderError, match=f"no answer from {gone.url}"):
            fetch_model(f"models:/{NAME}/1")
        with pytest.raises(TrackingUnreachableError, match=f"no answer from {gone.url}"):
            open_version(NAME, 1).__enter__()


def test_a_missing_bucket_and_a_file_that_is_gone_are_named(
    s3_store: S3Server, clone: Path
) -> None:
    client = mlflow_server.connect()
    command.main()
    (onnx,) = (e for e in object_store.list_files(LOCATION) if e.address.endswith("model.onnx"))
    object_store.delete(onnx.address)
    with pytest.raises(ModelFolderError, match=rf"files are gone from {LOCATION}/"):
        fetch_model(f"models:/{NAME}/1")
    with pytest.raises(PromotionError, match=rf"files are gone from {LOCATION}/"):
        open_version(NAME, 1).__enter__()

    client.create_experiment("elsewhere", artifact_location="s3://no-bucket/mlflow")
    with pytest.raises(TrackingError, match="s3://no-bucket/mlflow: there is no such bucket"):
        mlflow_server.require_artifact_store(client, "elsewhere")
