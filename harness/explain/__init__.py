"""What each sysctl would do here, and the profiles that scenarios run under.

Imports: errors, kernel, lab, lessons, sysctl_files.

A key that no kernel can be asked about: an entry in known.py, with its source. What follows from a setting:
consequences.py. A value that scenarios depend on: profiles/reference.conf.
"""
