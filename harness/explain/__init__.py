"""What each sysctl would do here, and the profiles that scenarios run under.

Imports: errors, kernel, lab, lessons, sysctl_files.

A fact about a key that cannot be found out by writing it: an entry in known.py, with its source. A consequence of a
setting: consequences.py. A value that scenarios depend on: profiles/reference.conf.
"""
