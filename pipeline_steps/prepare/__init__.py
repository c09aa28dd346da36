"""Stage 2: the raw archive becomes packed pairs, their manifest and a report.

Belongs here: finding, reading, checking, splitting pairs. The packed format is ``pairs``'s.
"""
