"""A run of pytest: started as a child process, given workers, recorded, and compared with another run.

Imports: errors, kernel, output, story.

A new field of the record: record.py and record.schema.json, with a new version. A new rule of comparison: compare.py.
"""
