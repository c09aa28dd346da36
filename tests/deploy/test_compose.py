"""compose.yaml against the Compose specification's schema, and what each service may do."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from deploy.composition import COMPOSE_FILE, HOST, read_services
from pipeline_steps.base.errors import PipelineError

COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PASSWORDS = {
    "POSTGRES_PASSWORD": "postgres-secret",
    "PREFECT_API_AUTH_STRING": "admin:prefect-secret",
    "AWS_ACCESS_KEY_ID": "colorizer",
    "AWS_SECRET_ACCESS_KEY": "s3-secret",
}


def test_the_file_follows_the_compose_specification() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    broken = COMPOSE | {"services": {"s3": {"image": "a", "port": ["1:1"]}}}
    assert [*validator.iter_errors(broken)]


def test_all_is_published_on_loopback_alone_at_one_port_inside_and_outside() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", ()):
            address, outside, inside = re.split(r":(?![-?])", port)
            assert address == HOST
            assert outside == inside


def test_a_service_waits_until_what_it_needs_is_ready() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            ends = "healthcheck" not in SERVICES[needed]
            assert how["condition"] == (
                "service_completed_successfully" if ends else "service_healthy"
            ), f"{name} needs {needed}"


def test_every_image_can_be_pinned_by_its_digest() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            dockerfile = COMPOSE_FILE.parents[1] / service["build"]["dockerfile"]
            assert "ARG PYTHON_DIGEST" in dockerfile.read_text()
            assert service["build"]["args"]["PYTHON_DIGEST"] == "${PYTHON_DIGEST:-}"
        else:
            assert re.fullmatch(r"[\w/]+:[\w.-]+\$\{[A-Z]+_DIGEST:-\}", service["image"]), name


def test_no_password_is_in_the_file_and_none_may_be_missing(tmp_path: Path) -> None:
    for name in PASSWORDS:
        with pytest.raises(PipelineError, match=f"compose.yaml needs {name}: run make passwords"):
            read_services({**PASSWORDS, name: ""}, tmp_path)


def test_without_containers_a_service_has_the_same_command_on_loopback(tmp_path: Path) -> None:
    services = read_services(PASSWORDS | {"MLFLOW_PORT": "5001"}, tmp_path)
    assert {service.name for service in services} == set(SERVICES)
    names = [service.name for service in services]
    for service in services:
        assert all(names.index(needed) < names.index(service.name) for needed in service.needs)
        words = [*service.command, *service.health, *service.environment.values()]
        assert not [word for word in words if "0.0.0.0" in word or "$" in word]
        # no name that only a container's network knows
        assert not [word for word in words if re.search(rf"(//|@)({'|'.join(names)}):", word)]
    by_name = {service.name: service for service in services}
    mlflow = by_name["mlflow"]
    assert mlflow.ports == (5001,)
    assert "http://127.0.0.1:5001/health" in mlflow.health[-1]
    assert mlflow.environment["MLFLOW_BACKEND_STORE_URI"] == (
        "postgresql+psycopg://colorizer:postgres-secret@127.0.0.1:5432/mlflow"
    )
    assert by_name["worker"].environment["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5001"
    assert by_name["postgres"].environment["PGDATA"] == str(tmp_path / "postgres")
    assert by_name["postgres"].stop_signal == "SIGINT"
    assert f"-dir={tmp_path / 's3'}" in by_name["s3"].command
