"""What leaves the program: the standard output, and files, each whole or not at all."""
