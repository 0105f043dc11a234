"""Everything that uses pytest: options, the fixture `lab`, verdicts, selection, saved runs, reports, stepping.

Imports: errors, evidence, explain, inside, kernel, lab, lessons, network, output, runs, story, views. No other room
imports pytest. Modules that few runs need are imported only when needed, to keep collection quick.

A new option: in the module that acts on it. A longer wait for the kernel's timers: lab/waiting.py; the options here
only pass it on.
"""

pytest_plugins = [
    "harness.pytest_plugin.options",
    "harness.pytest_plugin.labs",
    "harness.pytest_plugin.keeping",
    "harness.pytest_plugin.summary",
    "harness.pytest_plugin.selection",
    "harness.pytest_plugin.recording",
    "harness.pytest_plugin.endings",
]
