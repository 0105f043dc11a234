"""Predictions of what the kernel does: durations (timers.py) and limits (limits.py). Pure functions.

Imports: nothing of the harness.

A new prediction: a function of sysctls and times that returns an Interval or a number, with the kernel function that
it follows, checked against the kernel in tests/test_predict_against_kernel.py.
"""
