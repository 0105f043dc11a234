"""The program's output: the standard output, and files, which are written completely or not at all.

Imports: errors.

Write files with files.write() and print with terminal.say(), so that a full disk or a closed pipe is one clear
sentence in every command.
"""
