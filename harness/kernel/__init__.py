"""Wrappers of system calls: namespaces, netlink, sysctls, processors.

Imports: errors.

A sysctl that is found to belong to a network namespace: netns_keys.py, with its source in the kernel.
"""
