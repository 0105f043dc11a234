"""The texts of the scenarios (NAME.toml) and the parts of their docstrings (NAME.py), in scenarios/THEME/.

Imports: errors, kernel, output.

A new scenario: `python -m harness new NAME` writes its files (new.py, templates/); nothing here changes. A new field of
a lesson: the dataclasses in lessons.py, and templates/lesson.txt.
"""
