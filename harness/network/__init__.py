"""The hosts of a lab and their addresses. Apart from kernel/, the only room that depends on the address family.

Imports: errors, kernel.

Every lab has the hosts' addresses of both families (addresses.py); which one its servers are named by is the lab's
family (`--lab-family`). All other rooms use the hosts' names. Another network: a module that makes its links, beside
routed.py, and a row in kinds.py, which says which host is in which namespace.
"""
