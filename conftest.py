"""Tells pytest about the lab; everything else is in harness/plugin.py."""

pytest_plugins = ["harness.plugin"]
