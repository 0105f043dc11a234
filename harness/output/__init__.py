"""What leaves the program: the standard output, and files, each whole or not at all.

Imports: errors.

A file is written with files.write(), text is printed with terminal.say(): so a full disk or a closed pipe is one
clear sentence in every command.
"""
