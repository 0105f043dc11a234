"""The code that runs in the helper processes: the nursery (one a worker), a keeper (one a lab), and the roles.

Imports: errors, evidence, kernel, network, stock_roles. Not pytest, not scapy, and no threads: these processes fork.

A new operation inside a lab: a method of keeper.Keeper, called through lab/asking.py.
"""
