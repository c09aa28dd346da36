"""Benchmarks of speed and quality against existing tools, each a command.

Nothing else imports them.
"""

from colorizer.base.cores import limit_thread_pools

# before a benchmark imports torch
limit_thread_pools()
