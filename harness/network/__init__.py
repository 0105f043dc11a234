"""The hosts of a lab and their addresses. Apart from kernel/, the only room that depends on the address family.

Imports: errors, kernel.

Every lab has the hosts' addresses of both families (addresses.py); which one its servers are named by is the lab's
family (`--lab-family`). All other rooms use the hosts' names. A veth pair, or a router: a module here that makes the
links and defines which host is in which namespace.
"""
