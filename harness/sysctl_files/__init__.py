"""Reading the files in which people keep sysctls. What is read is data: nothing of it is run.

Imports: errors, kernel.

A new file format: a module with `read(text, source, found)` and a row in formats.FORMATS; the head of formats.py says
what both must hold.
"""
