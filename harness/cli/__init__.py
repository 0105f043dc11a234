"""The commands of `python -m harness`: their options, exit statuses and help. Other rooms do the work.

Imports: diagnose, errors, explain, kernel, lab, lessons, output, runs, sysctl_files, views, whatif. Each command
imports what it needs when it runs: `explain` takes 0.2 s, and must not wait for the libraries of the others.

A new command: a module here, its parser in main.py, its exit statuses in its epilog. A VM runner that boots other
kernels gets a room of its own, vms/, on the floor of whatif/; its command is a module here.
"""
