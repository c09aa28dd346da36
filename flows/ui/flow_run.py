"""The current flow run: its name and page, its errors as one line, the end of its stages.

A worker runs a flow by importing it, without its ``main``: so secrets are redacted from here on.
"""

import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar, cast

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.worker import EventsWorker
from prefect.states import Failed

from colorizer.base.redaction import redact, redact_error, redact_output
from flows.pipeline.process_group import end_all
from flows.promotion.champion import who
from flows.ui.prefect_secrets import add_prefect_secrets
from pipeline_steps.base.errors import PipelineError
from pipeline_steps.base.signals import die_with_parent
from pipeline_steps.tracking import mlflow_server

EVENTS_TIMEOUT_S = 5.0
P = ParamSpec("P")
T = TypeVar("T")


def failed_state_on_error(body: Callable[P, T]) -> Callable[P, T]:
    """Wrap a flow's or a task's body: a :class:`PipelineError` becomes a failed state's message.

    Raised, Prefect would log it with its traceback. ``task.submit(…).result()`` raises it; a plain
    call of such a task would return the state. No error and no state's message shows a secret:
    Prefect sends them to the server.
    """

    @functools.wraps(body)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with mlflow_server.plain_errors():
                result = body(*args, **kwargs)
            if isinstance(result, State) and result.message:
                result.message = redact(result.message)
            return result
        except PipelineError as error:
            redact_error(error)
            # to Prefect a returned state stands for the call's result
            return cast(T, Failed(message=str(error), data=error))
        except Exception as error:
            redact_error(error)
            raise
        finally:
            if FlowRunContext.get() and not TaskRunContext.get():
                send_heartbeats()

    return wrapped


def send_heartbeats() -> None:
    """Wait until the run's heartbeats are sent, ``EVENTS_TIMEOUT_S`` at most.

    They are sent by a thread that takes seconds to connect. One that came after the end of a short
    run would have the server wait for the next one, and mark the ended run as crashed.
    """
    worker = EventsWorker.instance()
    sending = threading.Thread(target=worker.wait_until_empty, daemon=True)
    sending.start()
    sending.join(EVENTS_TIMEOUT_S)


class AlreadyReported(logging.Filter):
    """Drop what Prefect's engine logs of an error whose message is in the failed state already.

    The engine raises the data of a returned state, and logs that with its traceback. For a task
    that returned a failed state it logs the traceback of no exception: "NoneType: None".
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be kept."""
        if not record.exc_info:
            return True
        return not (record.exc_info[1] is None or isinstance(record.exc_info[1], PipelineError))


add_prefect_secrets()
redact_output()
for _logger in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_logger).addFilter(AlreadyReported())


def who_runs() -> str:
    """For the ledger: the flow run's name, and ``user@host``."""
    return f"flow run {runtime.flow_run.name} of {who()}"


def flow_run_url() -> str:
    """The flow run's page, or its id where there is no UI."""
    return str(runtime.flow_run.ui_url or runtime.flow_run.id or "")


@contextmanager
def ending_stages() -> Iterator[None]:
    """End the running stages at the end, also when the run is cancelled or its worker is killed.

    Prefect's own handler turns SIGTERM into an exception here. It must stay installed: the runner
    checks for it before it reports a run as cancelled.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # started by a worker or by serve()
        die_with_parent()
    try:
        yield
    finally:
        end_all()
