"""The manifests and the GPU job's template against Kubernetes' own schemas, strictly."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import kubernetes_validate
import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
TEMPLATE = FOLDER / "gpu_job_template.json"
KEYS = "PREFECT_API_AUTH_STRING=admin:a\nAWS_ACCESS_KEY_ID=b\nAWS_SECRET_ACCESS_KEY=c\n"
VERSION = "1.34"


def validate(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


def read_manifests(folder: Path) -> list[dict[str, Any]]:
    paths = [path for path in folder.glob("*.yaml") if path.name != "kustomization.yaml"]
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


def test_every_manifest_follows_the_schema() -> None:
    manifests = [*read_manifests(FOLDER / "base"), *read_manifests(FOLDER / "team")]
    assert len(manifests) == 8
    for manifest in manifests:
        validate(manifest)
    (studio,) = (
        m for m in manifests if (m["kind"], m["metadata"]["name"]) == ("Deployment", "studio")
    )
    studio["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(studio)


def find_pod(manifest: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("name", ["studio", "worker"])
def test_a_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    manifests = read_manifests(FOLDER / "base")
    (manifest,) = (
        m for m in manifests if (m["kind"], m["metadata"]["name"]) == ("Deployment", name)
    )
    pod = find_pod(manifest)
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "livenessProbe" in container


def build_job() -> dict[str, Any]:
    """The Job that Prefect's worker makes of the template, with its defaults."""
    import asyncio

    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads(TEMPLATE.read_text())
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="a-run")
    configuration = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(
            template,
            {"gpus": 2},
            client=PrefectClient("http://127.0.0.1:9/api"),  # asked nothing: no block is named
        )
    )
    configuration.prepare_for_flow_run(run)
    job: dict[str, Any] = configuration.job_manifest
    # prefect-kubernetes 0.8 insists on two fields of a Job in its pod, where Kubernetes drops them
    assert (find_pod(job).pop("completions"), find_pod(job).pop("parallelism")) == (1, 1)
    return job


@pytest.mark.slow
def test_prefects_worker_makes_a_valid_job_of_the_template() -> None:
    job = build_job()
    validate(job)
    pod = find_pod(job)
    (container,) = pod["containers"]
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert job["spec"]["backoffLimit"] == 0  # the flow retries by itself
    assert pod["securityContext"]["runAsNonRoot"]
    claims = {m["metadata"]["name"] for m in read_manifests(FOLDER / "base")}
    assert {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"][:1]} <= claims


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_the_overlay_builds_to_valid_manifests(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (tmp_path / "kubernetes" / "team" / ".env").write_text(KEYS)
    built = subprocess.run(
        ["kubectl", "kustomize", tmp_path / "kubernetes" / "team"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert built.stderr == ""
    manifests = [*yaml.safe_load_all(built.stdout)]
    for manifest in manifests:
        validate(manifest)
    named = {(m["kind"], m["metadata"]["name"]): m for m in manifests}
    assert len(named) == 10  # the base's seven, the namespace, addresses and keys
    (studio,) = find_pod(named["Deployment", "studio"])["containers"]
    assert studio["image"] == "registry.example.com/image-colorizer-runtime:1"
    assert studio["args"][-1] == "--name=studio.example.com"
    assert set(named["Secret", "stack"]["data"]) == {
        "PREFECT_API_AUTH_STRING",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    }
