"""A registry shared by two machines: a holder whose lease has expired writes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flows.errors import PromotionError
from flows.promotion import champion, ledger, registry_lock
from flows.promotion.champion import read_standing, set_champion, settle
from flows.promotion.registry_lock import Registry, is_shared
from pipeline_steps.tracking import mlflow_server
from tests.flows.tiny_model import make_registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "sketch-colorizer"


@pytest.mark.parametrize(
    ("uri", "shared"),
    [
        ("sqlite:////srv/mlflow.db", False),
        ("http://127.0.0.1:5000", False),
        ("http://user:secret@localhost:5000", False),
        ("http://[::1]:5000", False),
        ("https://mlflow.example.com", True),
        ("http://10.0.0.1:5000", True),
        ("http://127.0.0.1.example.com", True),
        ("postgresql://mlflow@db/mlflow", True),
        ("databricks", True),
    ],
)
def test_a_registry_is_shared_unless_its_address_is_local(uri: str, shared: bool) -> None:
    assert is_shared(uri) is shared


class FakeLease:
    """A lease that a test can let expire; adds "check" to ``events``."""

    def __init__(self) -> None:
        self.is_lost = False
        self.events: list[str] = []

    def require_held(self) -> None:
        self.events.append("check")
        if self.is_lost:
            raise PromotionError("the lease expired")


@pytest.fixture
def client(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> "MlflowClient":
    """A registry of two versions, treated as shared by several machines."""
    make_registry(in_folder, NAME)
    monkeypatch.setattr(registry_lock, "is_shared", lambda uri: True)
    monkeypatch.setattr(registry_lock, "machine_lock", lambda client, timeout_s: nullcontext())
    monkeypatch.setattr(champion, "_require_working", lambda name, number: None)
    return mlflow_server.connect()


def machine(client: "MlflowClient", lease: FakeLease) -> Registry:
    @contextmanager
    def open_lease(name: str, timeout_s: float) -> Iterator[FakeLease]:
        yield lease

    return Registry(client, NAME, open_lease)


def promote(registry: Registry, version: int, by: str) -> ledger.Entry:
    return set_champion(registry, version, action="promoted", reason="test", by=by)


def test_the_lease_is_checked_right_before_the_intent_and_each_move(
    client: "MlflowClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(machine(client, FakeLease()), 2, "settled")
    lease = FakeLease()
    intent, tag = "create_run", "set_model_version_tag"
    move, end = "set_registered_model_alias", "set_terminated"
    for write in (intent, tag, move, end):
        surround(monkeypatch, client, write, before=partial(lease.events.append, write))
    promote(machine(client, lease), 1, "b")  # moves both aliases
    assert lease.events == [
        *("check", intent),
        *("check", tag, tag, tag),
        *("check", move),
        *("check", move),
        end,
    ]


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        ("before the intent", "another process took over the registry of"),
        ("after the intent", "^the lease expired$"),
        ("between the aliases", "^the lease expired$"),
    ],
)
def test_a_holder_whose_lease_has_expired_leaves_a_consistent_ledger(
    client: "MlflowClient", monkeypatch: pytest.MonkeyPatch, moment: str, reason: str
) -> None:
    promote(machine(client, FakeLease()), 2, "settled")
    lease = FakeLease()

    def expire() -> None:
        """The lease expires, and another machine makes another decision."""
        if not lease.is_lost:
            lease.is_lost = True
            promote(
                machine(client, FakeLease()), 1 if moment == "before the intent" else 2, "awake"
            )

    if moment == "before the intent":
        surround(monkeypatch, client, "create_run", before=expire)
    elif moment == "after the intent":
        surround(monkeypatch, champion, "_move_aliases", before=expire)
    else:
        surround(monkeypatch, client, "set_registered_model_alias", after=expire)
    with pytest.raises(PromotionError, match=reason):
        promote(machine(client, lease), 1, "asleep")

    standing = settle(machine(client, FakeLease()))
    states = {entry.by: (entry.state, entry.champion) for entry in standing.entries}
    if moment == "before the intent":  # written after the other decision: undone
        assert states == {"settled": ("done", 2), "awake": ("done", 1), "asleep": ("undone", 1)}
        assert standing.aliases == {"champion": 1, "previous": 2}
    else:  # the other machine completed this intent, then made its own decision
        assert states == {"settled": ("done", 2), "asleep": ("done", 1), "awake": ("done", 2)}
        assert standing.aliases == {"champion": 2, "previous": 1}


def nothing() -> None:
    pass


def surround(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    *,
    before: Callable[[], None] = nothing,
    after: Callable[[], None] = nothing,
) -> None:
    """Call functions before and after each call of a method."""
    real = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        before()
        result = real(*args, **kwargs)
        after()
        return result

    monkeypatch.setattr(owner, name, call)


def test_an_intent_completed_by_another_process_is_not_carried_out_again(
    client: "MlflowClient", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if the lease seems to be held: the ledger has a newer decision."""
    promote(machine(client, FakeLease()), 2, "settled")
    other_versions = [2]

    def decide() -> None:
        if other_versions:
            promote(machine(client, FakeLease()), other_versions.pop(), "awake")

    surround(monkeypatch, champion, "_require_newest_intent", before=decide)
    with pytest.raises(PromotionError, match="another process took over"):
        promote(machine(client, FakeLease()), 1, "asleep")
    assert read_standing(machine(client, FakeLease())).aliases == {"champion": 2, "previous": 1}
