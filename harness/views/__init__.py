"""Ways to look at a timeline, and the table of what moved between two runs. A view asks the kernel nothing.

Imports: evidence, lessons, network, output, runs, story.

A new output format: a module here that turns a Timeline into text or bytes, a line in artifacts.write(), and a test
that another program reads the result. Pictures draw rows.rows(), so that all of them show the same. Words:
page/words.json.
"""
