"""What would this sysctl change do? Stories before and after it, side by side.

Imports: errors, explain, kernel, lab, lessons, output, runs, story, sysctl_files, views.

A key that a lesson names for the first time gets its sentence in keys.toml.
"""
