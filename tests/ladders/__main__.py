"""`python -m tests.ladders`: record them."""

from tests.ladders import record

record()
