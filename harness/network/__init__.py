"""Who is where: the hosts of a lab and their addresses. With kernel/, the only room that knows the address family.

Imports: kernel.

IPv6: the hosts' second addresses, and which family a lab uses, in addresses.py; all others name hosts, not numbers. A
veth pair, or a router: a module here that makes the links and says which host lies in which namespace.
"""
