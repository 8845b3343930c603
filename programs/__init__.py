"""Example programs: each file ends with ``task = Task(...)``."""
