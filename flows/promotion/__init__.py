"""Champion against challenger: scores, the rule, the aliases, the ledger and their lock.

Nothing of Prefect belongs here: a lease or a person's decision is passed in.
"""
