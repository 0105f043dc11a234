"""Tells pytest about the lab; everything else is in harness/pytest_plugin/plugin.py."""

pytest_plugins = ["harness.pytest_plugin"]
