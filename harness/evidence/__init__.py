"""The evidence: frames, sockets, transitions, counters, holders. Frozen records on one clock, CLOCK_MONOTONIC in ns.

Imports: errors, kernel. A reader takes a network namespace or a process, in a lab or on a live machine.

A new counter source: a module here that returns names and numbers, as counters.py and memory.py do, and a verb in
lab/observer.py. The signature of a fault, a pure function of two snapshots of these records, is in diagnose/.
"""
