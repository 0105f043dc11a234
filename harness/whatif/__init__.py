"""What a change of sysctls would do: stories played before and after it, side by side.

Imports: errors, explain, kernel, lab, lessons, output, runs, story, sysctl_files, views.

A key that a lesson names for the first time needs a sentence in keys.toml.
"""
