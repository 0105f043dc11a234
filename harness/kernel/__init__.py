"""Wrappers of system calls: namespaces, netlink, sysctls, processors.

Imports: errors.

A further sysctl that belongs to a network namespace: netns_keys.py, with its source in the kernel.
"""
