"""How many files a process may have open: each mapped one counts."""

import resource


def allow_open_files(count: int) -> None:
    """Raise this process's soft limit to ``count``, as far as its hard limit lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        most = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
