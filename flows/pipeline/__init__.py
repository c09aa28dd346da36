"""Driving DVC: which stages there are, running one, and the clone that they run in."""
