"""What runs in the helper processes: the nursery (one a worker), a keeper (one a lab), and the roles.

Imports: errors, evidence, kernel, network, stock_roles. Nothing of pytest or scapy, and no thread: these processes
fork.

A new thing that must be done inside a lab: a command of keeper.Keeper, asked for by lab/asking.py.
"""
