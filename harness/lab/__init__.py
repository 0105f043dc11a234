"""What a scenario has in its hand: the lab, its actors and programs, and the line to the helper processes.

Imports: errors, evidence, inside, kernel, network, predict, stock_roles, story. Not pytest, and no view: the caller
that opens the lab passes in what is done before an actor moves (Observer.before_move), and the limit of waits
(max_wait_s).

A new verb: in observer.py if it looks, in lab.py if it starts or changes something, in actor.py if it moves an actor.
A longer wait: waiting.py is the whole policy (the default, its bounds, what exceeds it, what pytest-timeout is
given).
"""
