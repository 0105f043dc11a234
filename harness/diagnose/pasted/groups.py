"""The groups of counters: the first word of each name."""

GROUPS = ("TcpExt", "IpExt", "MPTcpExt", "Tcp", "IcmpMsg", "Icmp6", "Icmp", "Ip6", "Ip", "UdpLite6", "UdpLite", "Udp6",
          "Udp", "Sctp")  # fmt: skip
"""Those whose name begins with another group's come first."""


def group_of(name: str) -> str:
    """The group of a counter: "TcpExt" of "TcpExtListenDrops"; empty if it is not known here."""
    return next((group for group in GROUPS if name.startswith(group)), "")
