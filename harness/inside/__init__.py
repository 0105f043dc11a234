"""What runs in the helper processes: the nursery (one a worker), a keeper (one a lab), and the roles.

They import nothing of pytest, scapy or the rooms outside, and have one thread.
"""
