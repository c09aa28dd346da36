"""Networks whose hints flow a few steps only: the exporter takes seconds for a hundred nodes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline_steps.networks import hint_head


@contextmanager
def few_flow_steps() -> Iterator[None]:
    """Meanwhile hints flow over a few pixels; the whole pipeline is tested with all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hint_head, "FINE_STEPS", 2)
        patch.setattr(hint_head, "COARSE_STEPS", 3)
        yield
