"""The words of the scenarios, and what their docstrings say: NAME.toml and NAME.py in scenarios/THEME/.

Imports: errors.

A new scenario: two files in scenarios/THEME/, its mutants in tests/mutants/; nothing here. A new field of a lesson:
the dataclasses in lessons.py.
"""
