"""Metrics: plain functions ``(example, pred, trace=None)`` that return a score from 0 to 1."""
