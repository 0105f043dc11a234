"""Alert rules for Prometheus: the signatures whose counter alone proves the fault, with node_exporter's metrics."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from harness.diagnose.pasted.groups import group_of
from harness.diagnose.signatures import SIGNATURES
from harness.lessons import lessons
from harness.lessons.lessons import Lesson

DEFAULT_FIELDS = (
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|"
    r"Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|"
    r"PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
"""The counters that node_exporter exports unless --collector.netstat.fields sets others: collector/netstat_linux.go of
version 1.12.1 (2026-08-08). The signatures' other counters must be added to it."""

WINDOW = "5m"
"""Long enough for several scrapes, as increase() needs two samples."""

LASTS = "10m"
"""Twice the window: one event keeps `increase()[5m] > 0` true for 5 minutes, so only a fault that recurs alerts."""

NEEDS_MORE = "These need more: the socket table, the processes, or TCP flags (python -m harness diagnose)"
NOT_SEEN = "These have no signature: no counter or socket of one host shows them (docs/diagnosis.md)"

_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Alert:
    """When to alert to one signature's fault: `grows` has grown, and more than `more_than` if that is given.

    `unlike`: what looks alike, and how it differs.
    """

    grows: str
    unlike: str
    more_than: str = ""

    @property
    def counters(self) -> tuple[str, ...]:
        """The counters that it reads."""
        return tuple(filter(None, (self.grows, self.more_than)))


ALERTS = {
    "close_with_unread_data": Alert(
        "TcpExtTCPAbortOnClose",
        "SO_LINGER with 0 seconds also sends RST, but counts as TCPAbortOnData; the peer counts the reset as "
        "EstabResets. A program that is killed with unread data is one event; this alert needs several.",
    ),
    "last_segment_lost": Alert(
        "TcpExtTCPLossProbeRecovery",
        "A loss in the middle of a burst is repaired by SACK and counts as TCPFastRetrans; a tail loss probe that was "
        "needless is answered by DSACK, so there must be more repairs than DSACKs.",
        "TcpExtTCPDSACKRecv",
    ),
    "full_accept_queue": Alert(
        "TcpExtListenOverflows",
        "ListenDrops grows for every connection that a listener refuses, whatever the reason; a full SYN queue counts "
        "as TCPReqQFullDoCookies or TCPReqQFullDrop; a SYN that a firewall drops is not counted. The counter does not "
        "name the listener: `ss -ltn` does, with Recv-Q above Send-Q.",
    ),
}
"""By signature; only those that are certain of what they find. The kernel counts only the fault in such a counter:
TCPAbortOnClose in __tcp_close(), ListenOverflows if sk_acceptq_is_full(), TCPLossProbeRecovery in
tcp_process_tlp_ack()."""


def field(counter: str) -> str:
    """node_exporter's name for a counter of `nstat`: TcpExt_TCPAbortOnClose for TcpExtTCPAbortOnClose."""
    group = group_of(counter)
    return f"{group}_{counter.removeprefix(group)}"


def is_off_by_default(counter: str) -> bool:
    """Whether node_exporter leaves this counter out unless --collector.netstat.fields names it."""
    return not re.search(DEFAULT_FIELDS, field(counter))


def expression(alert: Alert) -> str:
    """The alert's condition: the counter has grown within the window."""
    growths = [f"increase(node_netstat_{field(counter)}[{WINDOW}])" for counter in alert.counters]
    return " > ".join(growths if alert.more_than else [*growths, "0"])


def fields_to_set() -> str:
    """The value of --collector.netstat.fields that exports what the alerts need besides what is exported anyway."""
    missing = sorted({field(each) for alert in ALERTS.values() for each in alert.counters if is_off_by_default(each)})
    return DEFAULT_FIELDS.replace(")$", f"|{'|'.join(missing)})$") if missing else DEFAULT_FIELDS


def without_alert() -> dict[str, list[str]]:
    """The lessons whose fault no counter shows, by the reason."""
    found: dict[str, list[str]] = {NEEDS_MORE: [], NOT_SEEN: []}
    for lesson in lessons.every():
        if (signature := lesson.signature or lesson.name) not in ALERTS:
            found[NEEDS_MORE if signature in SIGNATURES else NOT_SEEN].append(lesson.name)
    return found


def rules() -> str:
    """The rules file, as YAML with comments."""
    parts = [*_head(), "groups:", "- name: tcp-fault-lab", "  rules:"]
    for name, alert in ALERTS.items():
        parts += ["", *_comments(alert), *_rule(lessons.load(name), alert)]
    parts += ["", "# No counter shows the faults of these lessons."]
    for why, names in without_alert().items():
        parts += ["#", *_comment(f"{why}:"), *(f"#   {name}" for name in names)]
    return "\n".join(parts) + "\n"


def _head() -> Iterator[str]:
    yield from _comment(
        "Alert rules of tcp-fault-lab for Prometheus, written by `python -m harness diagnose --prometheus-rules`. Each "
        "is a signature that needs nothing but a counter. The kernel counts only this fault in the counter, so there "
        "is no threshold to tune."
    )
    yield "#"
    yield from _comment(
        f"for: {LASTS} is twice the window. One event keeps an expression true for {WINDOW}, so an alert fires only if "
        "the event happens again and again. Set it to 0m to be alerted to each event."
    )
    yield "#"
    yield from _comment(
        "The rules need node_exporter's netstat collector, which is on by default, and some counters that its default "
        "filter leaves out. Start node_exporter with:"
    )
    yield f"#   --collector.netstat.fields='{fields_to_set()}'"
    yield "#"
    yield from _comment(
        "node_exporter sees the network namespace that it runs in. A container with its own namespace has its own "
        "counters, which node_exporter does not see."
    )
    yield ""


def _comments(alert: Alert) -> Iterator[str]:
    for counter in alert.counters:
        state = "off by default, see above" if is_off_by_default(counter) else "on by default"
        yield f"  # needs node_netstat_{field(counter)} ({state})"


def _rule(lesson: Lesson, alert: Alert) -> Iterator[str]:
    texts = lesson.texts
    rule = {
        "alert": "".join(word.capitalize() for word in lesson.name.split("_")),
        "expr": expression(alert),
        "for": LASTS,
        "labels": {"severity": "warning", "lesson": lesson.name},
        "annotations": {
            "summary": f"{{{{ $labels.instance }}}}: {texts.claim}",
            "symptom": texts.symptom,
            "cause": texts.cause,
            "unlike": alert.unlike,
            "look": "; ".join(f"{command}: {look}" for command, look in zip(lesson.recognise, texts.look, strict=True)),
            "cure": texts.cure,
            "play": f"make lesson S={lesson.name}",
        },
    }
    text: str = yaml.safe_dump([rule], sort_keys=False, allow_unicode=True, width=_WIDTH)
    yield from textwrap.indent(text.rstrip(), "  ").splitlines()


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
