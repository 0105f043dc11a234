"""Facts that this kernel cannot report: keys removed from Linux, keys that do nothing, keys that only the host has.

Each entry names its source: the commit and its subject, a page, or the function that decides.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TCP = "net.ipv4.tcp_"


@dataclass(frozen=True, slots=True)
class Removed:
    """`keys` (a regular expression) were removed in Linux `version`, by the commit or page in `source`."""

    keys: str
    version: str
    source: str


_REMOVED = (
    Removed(f"{_TCP}tw_recycle", "4.12", "4396e46187ca, tcp: remove tcp_tw_recycle"),
    Removed(f"{_TCP}abc", "3.9", "ca2eb5679f8d, tcp: remove Appropriate Byte Count support"),
    Removed(f"{_TCP}frto_response", "3.10", "9b44190dc114, tcp: refactor F-RTO"),
    Removed(f"{_TCP}cookie_size", "3.10", "1a2c6181c4a1, tcp: Remove TCPCT"),
    Removed(f"{_TCP}max_ssthresh", "3.13", "9f9843a751d0, tcp: properly handle stretch acks in slow start"),
    Removed(f"{_TCP}dma_copybreak", "3.18", "7bced397510a, net_dma: simple removal"),
    Removed(f"{_TCP}thin_dupack", "4.11", "4a7f60094411, tcp: remove thin_dupack feature"),
    Removed(f"{_TCP}(vegas_cong_avoid|westwood|bic|bic_low_window|bic_fast_convergence)", "2.6.13",
            "tcp(7): since then these are values of tcp_congestion_control"),
    Removed(r"net\.ipv4\.(netfilter\.)?ip_conntrack_.*", "4.9",
            "adf0516845bc, netfilter: remove ip_conntrack* sysctl compat code: now net.netfilter.nf_conntrack_*"),
    Removed(r"kernel\.sched_(min_granularity|wakeup_granularity|latency|migration_cost)(_ns)?", "5.13",
            "8a99b6833c88, sched: Move SCHED_DEBUG sysctl to debugfs"),
)  # fmt: skip

_DEAD = {
    f"{_TCP}fack": "does nothing since Linux 4.15 (713bafea9292, tcp: retire FACK loss detection)",
    f"{_TCP}low_latency": "does nothing since Linux 4.14 (tcp(7))",
    f"{_TCP}adv_win_scale": "does nothing since Linux 6.6 (dfa2f0483360, tcp: get rid of sysctl_tcp_adv_win_scale)",
    "net.ipv4.route.max_size": "does nothing since Linux 3.6 (ip-sysctl.rst): IPv4 has no routing cache any more",
    **dict.fromkeys(
        ("net.ipv4.route.gc_interval", "net.ipv4.route.gc_min_interval", "net.ipv4.route.gc_min_interval_ms",
         "net.ipv4.route.gc_timeout", "net.ipv4.route.gc_elasticity"),
        "is stored and never read (net/ipv4/route.c): IPv4 has no routing cache any more",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """`keys` do nothing while the test `off` holds for the value of `other`; `source` is the reason."""

    keys: str
    other: str
    off: Callable[[str], bool]
    source: str
    unless: str = ""
    """A value that does nothing either way, for which the rule does not apply."""


def _zero(value: str) -> bool:
    return value.strip() == "0"


def _not_zero(value: str) -> bool:
    return not _zero(value)


_RULES = (
    Rule(f"{_TCP}tw_reuse", f"{_TCP}timestamps", _zero,
         "tcp_twsk_unique() reuses a TIME_WAIT socket only if it has seen timestamps", unless="0"),
    Rule(f"{_TCP}tw_reuse_delay", f"{_TCP}tw_reuse", _zero, "tcp_twsk_unique() reads it only with tcp_tw_reuse"),
    Rule(f"{_TCP}tw_reuse_delay", f"{_TCP}timestamps", _zero,
         "tcp_twsk_unique() reuses a TIME_WAIT socket only if it has seen timestamps"),
    Rule(f"{_TCP}dsack", f"{_TCP}sack", _zero, "tcp_dsack_set() needs SACK", unless="0"),
    Rule(f"{_TCP}comp_sack_(nr|delay_ns|slack_ns)", f"{_TCP}sack", _zero,
         "__tcp_ack_snd_check() sends at once without SACK"),
    Rule(f"{_TCP}comp_sack_(delay_ns|slack_ns)", f"{_TCP}comp_sack_nr", _zero,
         "__tcp_ack_snd_check() then compresses no ACKs"),
    Rule(f"{_TCP}max_syn_backlog", f"{_TCP}syncookies", _not_zero,
         "tcp_conn_request() reads it only without syncookies; the backlog of listen() limits the queue"),
    Rule(f"{_TCP}(base_mss|mtu_probe_floor|probe_threshold|probe_interval)", f"{_TCP}mtu_probing", _zero,
         "tcp_mtup_init() and tcp_mtu_probing() then never probe"),
    Rule(f"{_TCP}plb_(cong_thresh|rehash_rounds|idle_rehash_rounds|suspend_rto_sec)", f"{_TCP}plb_enabled", _zero,
         "tcp_plb_update_state() and tcp_plb_check_rehash() return at once"),
)  # fmt: skip

_OF_THE_HOST = re.compile(
    r"net\.ipv4\.(tcp_mem|tcp_max_orphans|tcp_low_latency|tcp_allowed_congestion_control|udp_mem|inet_peer_.*"
    r"|icmp_msgs_.*|cipso_.*|ipfrag_secret_interval|route\.(gc_.*|max_size|redirect_.*|error_.*))"
    r"|net\.core\.([rw]mem_(max|default)|optmem_max|netdev_.*|default_qdisc|dev_weight.*|bpf_jit_.*|busy_.*|rps_sock_.*"
    r"|flow_limit_.*|message_.*|warnings|max_skb_frags|gro_normal_batch|high_order_alloc_disable)"
    r"|net\.nf_conntrack_max|net\.netfilter\.nf_conntrack_(max|buckets|expect_max)"
)
"""Keys that a network namespace does not have, or cannot write: net/core/sysctl_net_core.c (net_core_table against
netns_core_table), net/ipv4/sysctl_net_ipv4.c (ipv4_table), net/ipv4/route.c (ipv4_route_table), and
net/netfilter/nf_conntrack_standalone.c. For use in a container, which cannot see the host's own /proc/sys."""


_OF_OTHER_NAMESPACES = {
    r"kernel\.(shm(max|all|mni|_rmid_forced|_next_id)|msg(max|mni|mnb|_next_id)|sem|sem_next_id|auto_msgmni)":
        "of an IPC namespace (ipc/ipc_sysctl.c)",
    r"fs\.mqueue\..*": "of an IPC namespace (ipc/mq_sysctl.c)",
    r"kernel\.(host|domain)name": "of a UTS namespace (kernel/utsname_sysctl.c)",
    r"user\.max_.*": "of a user namespace (kernel/ucount.c)",
}  # fmt: skip
"""Keys that a container may have of its own, in a namespace other than its network's."""


def of_another_namespace(key: str) -> str:
    """The kind of namespace, other than a network's, that has this key; empty if there is none."""
    return next((kind for keys, kind in _OF_OTHER_NAMESPACES.items() if re.fullmatch(keys, key)), "")


def removed(key: str) -> str:
    """The version in which Linux removed this key, and the source; empty if it was not removed."""
    for each in _REMOVED:
        if re.fullmatch(each.keys, key):
            return f"in {each.version} ({each.source})"
    return ""


def only_of_the_host(key: str) -> bool:
    """Whether only the initial network namespace is known to have a key, or to be able to write it."""
    return bool(_OF_THE_HOST.fullmatch(key))


def dead(key: str) -> str:
    """Why this key does nothing, although the kernel accepts it; empty if it does something."""
    return _DEAD.get(key, "")


def without_effect(
    key: str, value: str, effective_value: Callable[[str], str | None]
) -> Iterator[tuple[str, str, str]]:
    """The other keys that keep this one from having an effect, each as (key, its value, why)."""
    for rule in _RULES:
        if re.fullmatch(rule.keys, key) and value != rule.unless:
            other = effective_value(rule.other)
            if other is not None and rule.off(other):
                yield rule.other, other, rule.source
