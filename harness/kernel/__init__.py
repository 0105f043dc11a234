"""What is set up: namespaces, addresses, sysctls, the firewall. The only room that knows the address family."""
