"""A run of pytest: started as a child, given workers, recorded, and compared with another.

Imports: errors, kernel, output, story.

A new field of the record: record.py and record.schema.json, with a new version. A new rule of comparison: compare.py.
"""
