"""Reading the sysctls that people have, in the files where they have them, and saying what becomes of each here."""
