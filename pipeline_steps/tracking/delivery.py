"""Brings a run on an MLflow server up to its journal: at once, later, or on another server.

Always in the same way: the run is found, or made, and is sent the entries that it lacks, in order.
Training does so in the background while it appends entries (:class:`Delivery`); every other command
does so when it has appended its own (:func:`bring_up_to_date`).

No entry holds the others up for ever. What the server rejects for good is set aside, until
``deliver`` is run; a file that it can't take now is sent again after all others.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from colorizer.base.addresses import without_credentials
from colorizer.base.server_answers import Answer, find_answer, is_too_slow
from pipeline_steps.tracking import mlflow_server, runs
from pipeline_steps.tracking.journal import FOLDER, Entry, Missing, RunJournal
from pipeline_steps.tracking.run_writer import RunWriter, next_batch

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_S = 2.0
"""The first pause after a failure; each further one is twice as long, to ``MAX_RETRY_S``."""
MAX_RETRY_S = 30.0
IDLE_LIMIT_S = 30.0
"""At the end, how long to wait while no entry is delivered and no file is being sent."""
TOTAL_LIMIT_S = 600.0
INTERRUPTED_LIMIT_S = 3.0
"""A preempted machine gives ten seconds in all."""
REJECTED = "INVALID_PARAMETER_VALUE"
"""MLflow's error code for an entry that it will never accept."""
MAX_PRINTED = 3
"""Of the entries that a run lacks, the newest are described one by one."""
DELIVER = "python -m pipeline_steps deliver"


class Failure(NamedTuple):
    """Why a batch wasn't sent."""

    reason: str
    is_final: bool
    answer: Answer | None = None
    is_invalid: bool = False
    """The entry itself is damaged, or MLflow says so: no server will accept it."""
    may_be_stored: bool = False
    """The server was too slow to say so, but may store it all the same."""


class Delivery:
    """Sends a journal's entries to one run, in order, in a thread, until it is finished.

    With ``also_rejected`` the entries that were set aside are sent again, too.
    """

    def __init__(
        self,
        client: "MlflowClient",
        journal: RunJournal,
        run_id: str,
        *,
        also_rejected: bool = False,
    ) -> None:
        self.journal = journal
        self.run_id = run_id
        self.server = server_address()
        self.num_delivered = journal.count_delivered(self.server, run_id)
        """How many entries, from the first on, were sent, ``missing`` among them."""
        self.missing = dict(journal.find_missing(self.server, run_id))
        """Entries that the run lacks though later ones were sent, by key."""
        if also_rejected:
            self.missing = {
                key: each._replace(is_final=False) for key, each in self.missing.items()
            }
        self.rejected: list[str] = []
        """Reasons of entries that no server will ever accept."""
        self.last_failure: Failure | None = None
        self._writer = RunWriter(client, run_id, journal.files)
        self._unsure: set[str] = set()
        """Keys of files that the server may be storing: they aren't sent again by this process."""
        self._busy_until_s = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="delivery")

    @classmethod
    def to_run_of(
        cls,
        client: "MlflowClient",
        experiment: str,
        journal: RunJournal,
        *,
        also_rejected: bool = False,
    ) -> "Delivery":
        """A delivery to the journal's run on the server in use, which is found or made."""
        run_id = runs.find_or_make_run(
            client,
            experiment,
            training=journal.training,
            known=journal.read_mark(),
            tags=journal.first_tags,
        )
        delivery = cls(client, journal, run_id, also_rejected=also_rejected)
        delivery._mark()
        return delivery

    @property
    def num_queued(self) -> int:
        """How many entries weren't sent yet, or not successfully, so that later ones wait."""
        return len(self.journal.entries) - self.num_delivered

    @property
    def postponed(self) -> list[str]:
        """Keys of files that the server couldn't take, and that are sent again at the end."""
        return [key for key, each in self.missing.items() if not each.is_final]

    @property
    def set_aside(self) -> list[str]:
        """Keys of entries that the server rejected; a ``deliver`` sends them again."""
        return [key for key, each in self.missing.items() if each.is_final]

    @property
    def num_left(self) -> int:
        """How many entries the run lacks and may still be sent."""
        return self.num_queued + len(self.postponed)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def finish(self, *, idle_limit_s: float, total_limit_s: float) -> int:
        """Wait for the rest, as long as entries are delivered; return how many are left.

        A file that is being sent has the time that its size needs, besides ``idle_limit_s``.
        """
        self._closing.set()
        deadline_s = time.monotonic() + total_limit_s
        last, idle_since_s = self.num_left, time.monotonic()
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            self._thread.join(0.05)
            if self.num_left != last or time.monotonic() < self._busy_until_s:
                last, idle_since_s = self.num_left, time.monotonic()
            elif time.monotonic() - idle_since_s > idle_limit_s:
                break
        return self.num_left

    def _run(self) -> None:
        pause_s = RETRY_S
        while True:
            batch = next_batch(self.journal.entries[self.num_delivered :])
            if batch:
                is_done = self._try(batch)
            elif not self._closing.is_set():
                self.journal.wait_for_more_than(self.num_delivered, 0.5)
                continue
            elif self.postponed:
                settled = [self._try_again(key) for key in self.postponed]
                is_done = all(settled)
            else:
                return
            if is_done:
                pause_s = RETRY_S
            elif self._closing.is_set():
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, MAX_RETRY_S)
            else:
                is_closing = self._closing.wait(pause_s)
                pause_s = RETRY_S if is_closing else min(2 * pause_s, MAX_RETRY_S)

    def _try(self, batch: Sequence[Entry]) -> bool:
        """Send a batch; False if that failed, may succeed later, and later entries must wait."""
        failure = self._send(batch)
        is_content = failure and failure.is_final and not _is_of_everything(failure)
        if len(batch) > 1 and is_content:  # of one entry, or the size: the rest must not be lost
            half = len(batch) // 2
            return self._try(batch[:half]) and self._try(batch[half:])
        if failure and not failure.is_final and batch[0].kind != "file":
            return False
        self.num_delivered += len(batch)
        self._record(batch, failure)
        return True

    def _try_again(self, key: str) -> bool:
        """Send an entry that the run lacks, unless it has arrived; whether it's settled now."""
        entry = next(each for each in self.journal.entries if each.key == key)
        if entry.kind == "file" and self._has_arrived(entry):
            failure = None
        elif key in self._unsure:
            return False
        else:
            failure = self._send([entry])
        self._record([entry], failure)
        return failure is None or failure.is_final

    def _send(self, batch: Sequence[Entry]) -> Failure | None:
        self._busy_until_s = time.monotonic() + self._writer.timeout_s(batch[0])
        try:
            self._writer.send(batch)
        except Exception as error:
            self.last_failure = _find_failure(error)
            return self.last_failure
        finally:
            self._busy_until_s = 0.0
        return None

    def _has_arrived(self, entry: Entry) -> bool:
        try:
            return self._writer.has_file(entry)
        except Exception:  # if it can't be found out, the next attempt to send it says why
            return False

    def _record(self, batch: Sequence[Entry], failure: Failure | None) -> None:
        missing = dict(self.missing)  # another thread reads the other one
        for entry in batch:
            for key in self._replaced_by(entry):
                missing.pop(key, None)
            if failure is None:
                continue
            if failure.is_invalid:
                self.rejected.append(f"{entry.key}: {failure.reason}")
                continue
            missing[entry.key] = Missing(failure.reason, failure.is_final)
            if failure.may_be_stored:
                self._unsure.add(entry.key)
        self.missing = missing
        with suppress(OSError):  # a full disk; what isn't marked is sent again, which is harmless
            self._mark()

    def _replaced_by(self, entry: Entry) -> Iterator[str]:
        """The keys of missing entries that an entry replaces, and its own."""
        for earlier in self.journal.entries if self.missing else ():
            if earlier.key in self.missing and _target(earlier) == _target(entry):
                yield earlier.key
            if earlier.key == entry.key:
                return

    def _mark(self) -> None:
        self.journal.mark_delivered(self.server, self.run_id, self.num_delivered, self.missing)


def _target(entry: Entry) -> str:
    """What an entry sets in the run: a later one for the same replaces it."""
    if entry.kind == "status":
        return "status"
    return f"file {entry.content.get('file')}" if entry.kind == "file" else f"key {entry.key}"


def _is_of_everything(failure: Failure) -> bool:
    """Whether the server rejects any entry alike, as with wrong credentials or a deleted run."""
    return failure.answer is not None and failure.answer.status in (401, 403, 404, 407)


def _find_failure(error: Exception) -> Failure:
    from mlflow.exceptions import MlflowException

    from colorizer.base.bucket_transfer import find_bucket_error

    if bucket_error := find_bucket_error(error):
        return Failure(str(bucket_error), is_final=not bucket_error.may_pass)
    answer, reason = find_answer(error), mlflow_server.one_line(error)
    if isinstance(error, MlflowException) and error.error_code == REJECTED:
        return Failure(reason, is_final=True, answer=answer, is_invalid=True)
    if answer is not None:
        reason = str(answer) if answer.address else f"MLflow answered {reason}"
        reason = f"{reason}; {answer.advice}"
        return Failure(reason, answer.is_final, answer, may_be_stored=is_too_slow(error))
    if isinstance(error, OSError | MlflowException):  # the network's, the disk's, a database's
        return Failure(reason[:200], is_final=False, may_be_stored=is_too_slow(error))
    return Failure(reason, is_final=True, is_invalid=True)


def bring_up_to_date(
    client: "MlflowClient", experiment: str, journal: RunJournal, *, also_rejected: bool = False
) -> Delivery:
    """Bring the journal's run on the server in use up to the journal; return what was done.

    What the run lacks in the end is in the delivery's ``missing``. Raises
    :class:`~pipeline_steps.base.errors.TrackingUnreachableError` if the server goes away.
    """
    delivery = Delivery.to_run_of(client, experiment, journal, also_rejected=also_rejected)
    waiting = delivery.num_left
    delivery.start()
    left = delivery.finish(idle_limit_s=IDLE_LIMIT_S, total_limit_s=TOTAL_LIMIT_S)
    if delivery.num_queued:
        failure = delivery.last_failure
        raise mlflow_server.went_away(
            f"{left} of {waiting} entries of training {journal.training} wait",
            failure.answer if failure and not failure.is_final else None,
        )
    return delivery


def deliver_waiting(
    client: "MlflowClient",
    experiment: str,
    work: Path,
    *,
    command: str,
    also_rejected: bool = False,
) -> int:
    """Bring the run of every journal below ``work`` up to date that has entries no server has.

    Prints a line for each, which begins with ``command``. Returns how many entries the runs lack
    all the same. Raises as :func:`bring_up_to_date`.
    """
    lacking = 0
    for folder in sorted(path.parent for path in work.glob(f"*/{FOLDER}")):
        journal = RunJournal(folder)
        if not journal.is_waiting(also_rejected=also_rejected):
            continue
        delivery = bring_up_to_date(client, experiment, journal, also_rejected=also_rejected)
        if not delivery.missing:
            print(f"{command}: run {delivery.run_id} of training {journal.training} is up to date")
        print_undelivered(command, delivery)
        lacking += len(delivery.missing)
    return lacking


def print_undelivered(command: str, delivery: Delivery) -> None:
    """Print the entries that the run lacks, one per line, and what to do about it."""
    for reason in delivery.rejected:
        print(f"{command}: MLflow rejected an entry ({reason})")
    for key in list(delivery.missing)[-MAX_PRINTED:]:
        reason, is_final = delivery.missing[key]
        print(f"{command}: {'set aside' if is_final else 'waiting'}: {key}: {reason}")
    if len(delivery.missing) > MAX_PRINTED:
        print(f"{command}: … and {len(delivery.missing) - MAX_PRINTED} more")
    if num_missing := len(delivery.missing):
        entries, them = ("entry", "it") if num_missing == 1 else ("entries", "them")
        print(
            f"{command}: run {delivery.run_id} lacks {num_missing} {entries} of training"
            f" {delivery.journal.training}, kept in {delivery.journal.folder}; when the server"
            f" accepts {them}, `{DELIVER}` sends {them}"
        )


def server_address() -> str:
    """The address of the server in use, without user name and password."""
    return without_credentials(mlflow_server.tracking_uri())
