"""Which fault is this? Snapshots of a network namespace, and the signatures of the lessons' faults that judge them.

Imports: errors, evidence, kernel, lessons, output, sysctl_files. A snapshot is taken of a lab or of a live machine,
or read from text. Taking one changes nothing: no packet is sent, no sysctl is written, no module is loaded.

A new signature needs a function in the module of its lesson's theme, in signatures/, and an entry in tests/diagnosed/
that lists the stories in which it is found. snapshot.py holds all that it may read; a new source belongs in evidence/.
"""
