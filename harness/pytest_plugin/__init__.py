"""All that knows pytest: options, the fixture `lab`, verdicts, selection, saved runs, reports, stepping."""

pytest_plugins = [
    "harness.pytest_plugin.plugin",
    "harness.pytest_plugin.selection",
    "harness.pytest_plugin.recording",
    "harness.pytest_plugin.endings",
]
