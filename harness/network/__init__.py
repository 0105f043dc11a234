"""Who is where: the hosts of a lab and their addresses. The only room that knows the address family."""
