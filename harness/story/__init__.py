"""What happened in one lab, as records: the timeline, its connections, its shape, its outcome, its verdict.

Imports: errors, evidence, network, predict. Records are frozen; nothing here calls the kernel.

A new verdict: a member of verdicts.StoryVerdict; pytest_plugin/verdicts.py then decides which report gets it. A new
kind of record: a class in timeline.py; each view, outcome.py and shape.py then handle it.
"""
