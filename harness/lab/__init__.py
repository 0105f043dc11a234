"""What a scenario uses: the lab, its actors and programs, and the connection to the helper processes.

Imports: errors, evidence, inside, kernel, network, predict, stock_roles, story. Not pytest, and no view: the caller
that opens the lab passes in a callback to run before an actor moves (Observer.before_move) and the limit on waiting
(max_wait_s).

A new verb: in observer.py if it looks, in lab.py if it starts or changes something, in actor.py if it moves an actor.
A longer wait: waiting.py is the whole policy (the default, its bounds, what exceeds it, and the timeout given to
pytest-timeout).
"""
