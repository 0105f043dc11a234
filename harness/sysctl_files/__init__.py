"""Readers for the files in which people keep sysctls. They treat everything as data, and never run any of it.

Imports: errors, kernel.

A new file format: a module with `read(text, source, found)` and a row in formats.FORMATS; the docstring of formats.py
describes both.
"""
