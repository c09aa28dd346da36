"""Brings a run on an MLflow server up to its journal: at once, later, or on another server.

Always in the same way: the run is found, or made, and is sent the entries that it lacks, in order.
Training does so in the background while it appends entries (:class:`Delivery`); every other command
does so when it has appended its own (:func:`bring_up_to_date`).
"""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from colorizer.base.addresses import without_credentials
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.journal import FOLDER, Entry, RunJournal
from pipeline_steps.tracking.run_writer import RunWriter, next_batch

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_S = 2.0
IDLE_LIMIT_S = 30.0
"""At the end, how long to wait while no entry is delivered."""
TOTAL_LIMIT_S = 600.0
INTERRUPTED_LIMIT_S = 3.0
"""A preempted machine gives ten seconds in all."""
REJECTED = "INVALID_PARAMETER_VALUE"
"""MLflow's error code for an entry that it will never accept."""


class Delivery:
    """Sends a journal's entries to one run, in order, in a thread, until it is finished."""

    def __init__(self, client: "MlflowClient", journal: RunJournal, run_id: str) -> None:
        self.journal = journal
        self.run_id = run_id
        self.server = server_address()
        self.num_delivered = journal.count_delivered(self.server, run_id)
        self.rejected: list[str] = []
        """Reasons of entries that MLflow will never accept."""
        self._writer = RunWriter(client, run_id, journal.files)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="delivery")

    @classmethod
    def to_run_of(cls, client: "MlflowClient", experiment: str, journal: RunJournal) -> "Delivery":
        """A delivery to the journal's run on the server in use, which is found or made."""
        run_id = runs.find_or_make_run(
            client,
            experiment,
            training=journal.training,
            known=journal.read_mark(),
            tags=journal.first_tags,
        )
        delivery = cls(client, journal, run_id)
        journal.mark_delivered(delivery.server, run_id, delivery.num_delivered)
        return delivery

    @property
    def num_left(self) -> int:
        """How many entries the run lacks."""
        return len(self.journal.entries) - self.num_delivered

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self, *, idle_limit_s: float, total_limit_s: float) -> int:
        """Wait for the rest, as long as entries are delivered; return how many are left."""
        self._closing.set()
        deadline_s = time.monotonic() + total_limit_s
        last, idle_since_s = self.num_delivered, time.monotonic()
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            self._thread.join(0.05)
            if self.num_delivered != last:
                last, idle_since_s = self.num_delivered, time.monotonic()
            elif time.monotonic() - idle_since_s > idle_limit_s:
                break
        return self.num_left

    def _run(self) -> None:
        while True:
            batch = next_batch(self.journal.entries[self.num_delivered :])
            if not batch and self._closing.is_set():
                return
            if not batch:
                self.journal.wait_for_more_than(self.num_delivered, 0.5)
            elif not self._try(batch):
                time.sleep(0.2 if self._closing.wait(RETRY_S) else 0)

    def _try(self, batch: Sequence[Entry]) -> bool:
        """Send a batch; False if that failed and may succeed later."""
        from mlflow.exceptions import MlflowException

        try:
            self._writer.send(batch)
        except OSError:  # the network's and the disk's
            return False
        except Exception as error:
            if isinstance(error, MlflowException) and error.error_code != REJECTED:
                return False
            if len(batch) > 1:  # one is rejected; the others must not be lost with it
                return all(self._try([entry]) for entry in batch)
            # it would fail later too, and must not hold up the rest
            self.rejected.append(f"{batch[0].key}: {mlflow_server.one_line(error)}")
        self.num_delivered += len(batch)
        with suppress(OSError):  # a full disk; what isn't marked is sent again, which is harmless
            self.journal.mark_delivered(self.server, self.run_id, self.num_delivered)
        return True


def bring_up_to_date(client: "MlflowClient", experiment: str, journal: RunJournal) -> Delivery:
    """Bring the journal's run on the server in use up to the journal; return what was done.

    Raises :class:`~pipeline_steps.base.errors.TrackingUnreachableError` if the server goes away.
    """
    delivery = Delivery.to_run_of(client, experiment, journal)
    waiting = delivery.num_left
    delivery.start()
    left = delivery.finish(idle_limit_s=IDLE_LIMIT_S, total_limit_s=TOTAL_LIMIT_S)
    if left:
        raise mlflow_server.went_away(
            f"{left} of {waiting} entries of training {journal.training} wait"
        )
    return delivery


def deliver_waiting(client: "MlflowClient", experiment: str, work: Path, *, command: str) -> None:
    """Bring the run of every journal below ``work`` up to date that has entries no server has.

    Prints a line for each, which begins with ``command``. Raises as :func:`bring_up_to_date`.
    """
    for folder in sorted(path.parent for path in work.glob(f"*/{FOLDER}")):
        journal = RunJournal(folder)
        if not journal.is_waiting():
            continue
        delivery = bring_up_to_date(client, experiment, journal)
        print(f"{command}: run {delivery.run_id} of training {journal.training} is up to date")
        print_rejected(command, delivery)


def print_rejected(command: str, delivery: Delivery) -> None:
    """Print the entries that MLflow will never accept, one per line."""
    for reason in delivery.rejected:
        print(f"{command}: MLflow rejected an entry ({reason})")


def server_address() -> str:
    """The address of the server in use, without user name and password."""
    return without_credentials(mlflow_server.tracking_uri())
