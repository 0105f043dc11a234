"""The commands of `python -m harness`: options, exit statuses, help."""
