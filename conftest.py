"""Tells pytest about the lab; everything else is in harness/pytest_plugin/."""

pytest_plugins = ["harness.pytest_plugin"]
