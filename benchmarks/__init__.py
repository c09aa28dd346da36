"""Benchmarks of speed and quality against existing tools, each a command.

Nothing else imports them.
"""
