"""The flows on a real, temporary Prefect server: approval, the data trigger, retries."""

import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import flow, get_run_logger, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, State
from prefect.states import (
    Cancelled,
    Cancelling,
    Completed,
    Failed,
    Paused,
    Pending,
    Running,
    Suspended,
)
from prefect.variables import Variable

from colorizer.base.files import write_json
from flows import watch
from flows.errors import StageError, WorkspaceError
from flows.promote import promote
from flows.promotion import ledger
from flows.promotion.versions import find_aliases
from flows.retrain import may_pass
from flows.rollback import rollback
from flows.ui import approval
from flows.ui.flow_run import failed_state_on_error
from flows.ui.lost_runs import close_lost_runs, describe, read_lost_runs
from pipeline_steps.base.errors import ParamError, SourceUnreachableError, TrackingUnreachableError
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
NAME = "sketch-colorizer"


@pytest.fixture(scope="module", autouse=True)
def prefect() -> Iterator[None]:
    # imports Prefect's server, which takes seconds also where these tests aren't selected
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def registry(in_folder: Path) -> Path:
    return make_registry(in_folder, NAME)


def resume_when_paused(**run_input: Any) -> threading.Thread:
    """In a thread: wait for a paused run, and resume it with this input, as the UI does."""

    def resume() -> None:
        deadline_s = time.monotonic() + 60
        wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": ["PAUSED"]}}})
        with get_client(sync_client=True) as client:
            while time.monotonic() < deadline_s:
                for run in client.read_flow_runs(flow_run_filter=wanted):
                    client.resume_flow_run(run.id, run_input=run_input)
                    return
                time.sleep(0.2)

    thread = threading.Thread(target=resume)
    thread.start()
    return thread


@pytest.mark.usefixtures("registry")
def test_an_approval_promotes_and_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "POLL_S", 1)
    thread = resume_when_paused(approve=True, name="Ann", reason="good hair")
    state: State[Any] = promote(version="1", ask=True, return_state=True)
    thread.join()
    assert state.name == "Promoted", state
    client = mlflow_server.connect()
    assert find_aliases(client, NAME)["champion"] == 1
    (entry,) = ledger.read_entries(client, NAME)
    assert entry.by.startswith("Ann, flow run ")
    assert entry.flow_run


@pytest.mark.usefixtures("registry")
def test_a_rejection_is_recorded_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approval, "POLL_S", 1)
    thread = resume_when_paused(approve=False, name="Ann", reason="too pink")
    state: State[Any] = promote(version="1", ask=True, return_state=True)
    thread.join()
    assert state.name == "Refused"
    assert "not approved: too pink" in (state.message or "")
    assert find_aliases(mlflow_server.connect(), NAME) == {}


@pytest.mark.usefixtures("registry")
def test_without_an_answer_in_time_the_promotion_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(approval, "TIMEOUT_S", 2)
    monkeypatch.setattr(approval, "POLL_S", 1)
    promote(version="1", ask=True, return_state=True)
    # Prefect ends such a run as failed; the ledger has the refusal
    (entry,) = ledger.read_entries(mlflow_server.connect(), NAME)
    assert entry.action == "refused"
    assert "no answer within 2 s" in entry.reason


@pytest.mark.usefixtures("registry")
def test_rollback_is_a_flow_and_its_failure_is_one_line() -> None:
    failed: State[Any] = rollback(return_state=True)
    assert failed.is_failed()
    assert failed.message == (
        f"no version of {NAME} was promoted yet; `make promote` makes the first champion"
    )
    promote(version="1", unjudged="for the test", return_state=True)
    promote(version="2", unjudged="for the test", return_state=True)
    state: State[Any] = rollback(return_state=True)
    assert state.is_completed()
    assert find_aliases(mlflow_server.connect(), NAME) == {"champion": 1, "previous": 2}


def test_only_transient_errors_are_retried() -> None:
    def verdict(error: Exception) -> bool:
        return may_pass(None, None, Failed(data=error))  # type: ignore[arg-type]

    for passing in (
        StageError("train: server away", may_pass=True),
        TrackingUnreachableError("no server"),
        SourceUnreachableError("no network"),
    ):
        assert verdict(passing)
    for lasting in (ParamError("bad"), StageError("train: bad"), WorkspaceError("x"), KeyError()):
        assert not verdict(lasting)


def test_a_task_with_a_transient_error_is_retried_until_it_succeeds() -> None:
    tries: list[int] = []

    @task(retries=3, retry_delay_seconds=0.1, retry_condition_fn=may_pass)
    @failed_state_on_error
    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise StageError("the server is away", may_pass=True)
        return "done"

    @flow
    def body() -> str:
        return flaky.submit().result()

    assert body() == "done"
    assert len(tries) == 3


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the deployments that the trigger would start."""
    runs: list[str] = []

    def start(deployment: str) -> str:
        runs.append(deployment)
        return "00000000-0000-0000-0000-000000000001"

    monkeypatch.setattr(watch, "start", start)
    Variable.unset(watch.SEEN)
    return runs


@pytest.fixture
def set_archive(in_folder: Path) -> Callable[[bytes], None]:
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["download"] |= {"source": "archive", "path": str(in_folder / "pairs.zip")}
    (in_folder / "params.yaml").write_text(yaml.safe_dump(params))

    def write(content: bytes) -> None:
        (in_folder / "pairs.zip").write_bytes(content)

    return write


def watched() -> str:
    state: State[Any] = watch.watch(return_state=True)
    return str(state.name)


def test_the_trigger_starts_a_retraining_only_on_a_change(
    set_archive: Callable[[bytes], None], started: list[str]
) -> None:
    set_archive(b"first")
    assert [watched(), watched()] == ["Triggered", "Unchanged"]
    set_archive(b"first")  # same content, new modification time
    assert watched() == "Unchanged"
    set_archive(b"other")
    assert [watched(), watched()] == ["Triggered", "Unchanged"]
    assert started == ["retrain/retrain"] * 2


def test_what_was_downloaded_before_the_first_look_is_no_change(
    set_archive: Callable[[bytes], None], started: list[str], in_folder: Path
) -> None:
    set_archive(b"first")
    record = {"source": "archive", "sha256": hashlib.sha256(b"first").hexdigest()}
    write_json(in_folder / "data/raw/source.json", record)
    assert watched() == "Unchanged"
    set_archive(b"other")
    assert watched() == "Triggered"
    assert started == ["retrain/retrain"]


def test_a_change_whose_run_was_cancelled_starts_another_run(
    set_archive: Callable[[bytes], None], started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_archive(b"first")
    assert watched() == "Triggered"
    monkeypatch.setattr(watch, "was_cancelled", lambda run: True)
    assert watched() == "Triggered"


def test_a_missing_source_fails_with_one_line(
    set_archive: Callable[[bytes], None], started: list[str], in_folder: Path
) -> None:
    state: State[Any] = watch.watch(return_state=True)
    assert state.message == f"{in_folder}/pairs.zip: no such file or folder; correct download.path"
    assert not started


@pytest.mark.usefixtures("registry")
def test_a_run_is_named_after_what_it_does() -> None:
    state: State[Any] = promote(version="2", unjudged="for the test", return_state=True)
    assert state.is_completed()
    (entry,) = ledger.read_entries(mlflow_server.connect(), NAME)
    assert entry.by.startswith("flow run promote 2 of ")
    rollback(return_state=True)
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_flow_runs()}
    assert {"promote 2", "rollback to previous"} <= names


def test_a_failed_task_is_logged_without_the_traceback_of_no_exception(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @task
    @failed_state_on_error
    def refused() -> None:
        raise ParamError("train.epochs: must be ≥ 1, got -1")

    @flow
    @failed_state_on_error
    def body() -> None:
        refused.submit().result()

    body(return_state=True)
    assert "train.epochs: must be ≥ 1, got -1" in caplog.text
    assert "NoneType: None" not in caplog.text


def test_a_state_that_a_flow_returns_is_kept() -> None:
    @failed_state_on_error
    def body() -> State[Any]:
        return Completed(message="fine")

    assert body().message == "fine"


@flow(name="lost")
def lost_flow() -> None:
    pass


class Deployed:
    """A deployment of ``lost_flow`` with a limit, and runs of it that were never started."""

    def __init__(self, client: SyncPrefectClient, limit: int, pool: str | None = None) -> None:
        self.client = client
        self.name = f"lost/{time.monotonic_ns()}"
        self.id = client.create_deployment(
            client.create_flow(lost_flow),
            self.name.removeprefix("lost/"),
            work_pool_name=pool,
            concurrency_limit=limit,
            concurrency_options=ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
            ),
        )

    def run(self, *states: State[Any]) -> UUID:
        """A run that went through these states."""
        run = self.client.create_flow_run_from_deployment(self.id)
        for state in states:
            self.client.set_flow_run_state(run.id, state)
        return run.id

    def state(self, run: UUID) -> str | None:
        state = self.client.read_flow_run(run).state
        assert state is not None
        return state.name

    def slots(self) -> int:
        limit = self.client.read_deployment(self.id).global_concurrency_limit
        assert limit is not None
        return limit.active_slots


def test_unfinished_runs_without_a_process_are_marked_and_free_their_slots() -> None:
    with get_client(sync_client=True) as client:
        served = Deployed(client, limit=4)
        states: list[list[State[Any]]] = [
            [Pending()],
            [Pending(), Running()],
            [Pending(), Running(), Cancelling()],
            [Pending(), Running(), Paused()],
            [Pending(), Running(), Suspended()],
        ]
        runs = [served.run(*each) for each in states]
        alive = served.run(Pending(), Running())
        assert served.slots() == 4
        assert served.state(served.run(Pending())) == "Cancelled"
        with subprocess.Popen(
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            env=os.environ | {"PREFECT__FLOW_RUN_ID": str(alive)},
        ):
            close_lost_runs([served.name, "lost/never deployed"])
        expected = ["Crashed", "Crashed", "Cancelled", "Crashed", "Suspended"]
        assert [served.state(run) for run in runs] == expected
        assert served.state(alive) == "Running"
        assert served.slots() == 1
        assert served.state(served.run(Pending())) == "Pending"


def test_a_slot_that_nobody_holds_is_freed() -> None:
    with get_client(sync_client=True) as client:
        served = Deployed(client, limit=1)
        client.increment_concurrency_slots([f"deployment:{served.id}"], slots=1, mode="concurrency")
        assert served.slots() == 1
        close_lost_runs([served.name])
        assert served.slots() == 0


def test_a_run_of_another_machine_is_left_alone() -> None:
    with get_client(sync_client=True) as client:
        pool = f"pool-{time.monotonic_ns()}"
        client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        remote = Deployed(client, limit=1, pool=pool)
        run = remote.run(Pending(), Running())
        close_lost_runs([remote.name])
        assert remote.state(run) == "Running"
        assert remote.slots() == 1


def test_a_run_that_the_limit_cancelled_is_reported_and_one_that_a_person_cancelled_is_not() -> (
    None
):
    started = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        served = Deployed(client, limit=1)
        first = served.run(Pending(), Running())
        second = served.run(Pending())
        client.set_flow_run_state(first, Cancelled(message="not today"))
        (reported,) = read_lost_runs(client, [served.name], started)
    assert reported.id == second
    assert "Cancelled: Deployment concurrency limit reached." in describe(reported)


class ServerSaysNoError(Exception):
    """A library's, whose text holds an address."""


@pytest.mark.parametrize("kind", [ServerSaysNoError, TrackingUnreachableError])
def test_prefect_gets_no_secret_in_logs_and_states(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    address = "http://alice:canary-77ab@host"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)

    @task
    @failed_state_on_error
    def fail() -> None:
        logging.getLogger("prefect.library").warning("from a library: %s", address)
        get_run_logger().info("the child said canary-77ab")
        raise kind(f"403 for {address}") from OSError(address)

    @flow
    @failed_state_on_error
    def failing() -> None:
        fail.submit().result()

    state: State[Any] = failing(return_state=True)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
    deadline_s = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline_s:
            logs = client.read_logs(wanted)
            if any("the child said" in log.message for log in logs):
                break
            time.sleep(0.5)
        kept = client.read_flow_run(run_id)
        tasks = client.read_task_runs(
            flow_run_filter=FlowRunFilter.model_validate({"id": {"any_": [run_id]}})
        )
    assert any("the child said ***" in log.message for log in logs)
    texts = [log.message for log in logs]
    texts += [each.model_dump_json() for each in (kept, *tasks)]
    assert any("403 for http://host" in text for text in texts)
    assert not [text for text in texts if "canary-77ab" in text]
