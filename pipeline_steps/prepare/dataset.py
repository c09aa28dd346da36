"""``dataset.json``: counts, options, source and hashes of the packed pairs."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import PackedPairs
from pipeline_steps.pairs.shards import ShardList
from pipeline_steps.prepare.manifest import Tally
from pipeline_steps.prepare.reading import PairRules


def describe_dataset(
    tally: Tally,
    packed: Sequence[PackedPairs],
    listed: ShardList,
    rules: PairRules,
    source: Any,
    *,
    val_is_test: bool,
) -> dict[str, Any]:
    """The content of ``dataset.json``; its fingerprint depends on packed files and shards alone.

    ``tally`` is the manifest's; ``source`` is the content of ``source.json``; ``val_is_test`` says
    that the archive's ``val`` became the test set.
    """
    files = {pairs.path.name: pairs.sha256() for pairs in packed}
    if listed.shards:
        files["shards"] = listed.sha256()
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return {
        "image_size": rules.image_size,
        "sketch_side": rules.sketch_side,
        "pairs": tally.pairs,
        "verdicts": tally.verdicts,
        "archive_val_is_test": val_is_test,
        "files": files,
        "fingerprint": hashlib.sha256(lines.encode()).hexdigest(),
        "source": source,
    }


def read_source(path: Path) -> Any:
    """The content of ``source.json``; None if there is none. Raises :class:`DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON; run `dvc repro -f download`") from None
