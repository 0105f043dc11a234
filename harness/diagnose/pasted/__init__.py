"""Snapshots from text: what `ss`, `nstat`, `netstat` or /proc/net print, pasted by a user or kept by a sosreport.

The text comes from elsewhere and is hostile input: no reader raises an exception, every limit is a constant, and each
line is either understood or noted as unread, with its number and a reason, but without its text. The notes are in
Snapshot.unseen.

    files.py     which files there are: a sosreport, a directory, one file, or the standard input
    text.py      their lines, within limits, and the notes on what was not read
    formats.py   the table of formats; the format is recognised line by line, so that one file may hold the output of
                 several commands
    looks.py     one or two snapshots from all that was read

To add a format, write a module with a class that has `begins(line)`, true only for a line that no other format has, and
`read(line)`, which returns why a line is not understood, or "" if it is. The class puts what it reads into a Reading
(reading.py). Then add it to FORMATS in formats.py, and a text that the real program has printed to
tests/test_pasted.py.
"""
