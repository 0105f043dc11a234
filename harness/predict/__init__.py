"""What the kernel should do: when things end (timers.py), how many there can be (limits.py). Pure functions.

Imports: nothing of the harness.

A new prediction: a function of sysctls and times that returns an Interval or a number, with the kernel function that
it follows, checked against the kernel in tests/test_predict_against_kernel.py.
"""
