"""The hosts of a lab and their addresses. Apart from kernel/, the only room that depends on the address family.

Imports: kernel.

IPv6: the hosts' second addresses, and the choice of a family, in addresses.py; all other rooms use the hosts' names. A
veth pair, or a router: a module here that makes the links and defines which host is in which namespace.
"""
