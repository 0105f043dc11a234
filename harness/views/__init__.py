"""Displays of a timeline, and the table of what changed between two runs. A view never calls the kernel.

Imports: evidence, lessons, network, output, runs, story.

A new output format: a module here that turns a Timeline into text or bytes, a line in artifacts.write(), and a test in
which another program reads the result. All pictures draw rows.rows(), so that they show the same. Words:
page/words.json.
"""
