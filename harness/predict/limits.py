"""Predicted numbers, sizes and agreed options under given sysctls: pure functions, each with its source.

(Durations are in predict/timers.py.)
"""

from collections.abc import Collection


def backlog(asked: int, somaxconn: int) -> int:
    """The backlog that listen(asked) gets: at most net.core.somaxconn (net/socket.c, __sys_listen_socket)."""
    return min(asked, somaxconn)


def accept_queue_places(given_backlog: int) -> int:
    """The length of the accept queue: one more than the backlog (include/net/sock.h, sk_acceptq_is_full)."""
    return given_backlog + 1


def half_open_places(given_backlog: int, syncookies: int, max_syn_backlog: int) -> int:
    """The number of SYN_RECV sockets that a listener keeps (net/ipv4/tcp_input.c, tcp_conn_request).

    One more than the backlog (include/net/inet_connection_sock.h, inet_csk_reqsk_queue_is_full; equal to the backlog
    before commit 3479c7549fb1, "tcp/dccp: allow a connection when sk_max_ack_backlog is zero"). Without cookies, the
    last quarter of tcp_max_syn_backlog is reserved for peers in the metrics cache. With tcp_syncookies=2, it is 0.
    """
    if syncookies == 2:
        return 0
    unproven = max_syn_backlog - (max_syn_backlog >> 2) + 1
    return given_backlog + 1 if syncookies else min(given_backlog + 1, max(0, unproven))


def connect_ports(low: int, high: int, taken: Collection[int] = ()) -> tuple[int, int]:
    """The smallest and the largest number of connections to one server that connect() finds ports for.

    net/ipv4/inet_hashtables.c, __inet_hash_connect: each search tries an even number of ports, so in a range of an odd
    number of ports it leaves one out, which depends on where the search begins. `taken`: reserved ports, and those of
    listeners (connect() skips a port that bind() has given out).
    """
    count = high - low + 1
    free = len(set(range(low, high + 1)).difference(taken))
    return max(0, free - (count % 2 if count > 1 else 0)), free


def port_set(bitmap: str) -> set[int]:
    """The ports of a list such as "8080,50000-50002", the form of ip_local_reserved_ports."""
    ranges = [each.split("-") for each in bitmap.split(",") if each]
    return {port for each in ranges for port in range(int(each[0]), int(each[-1]) + 1)}


def takes_time_wait_over(tw_reuse: int, timestamps: int, *, loopback: bool) -> bool:
    """Whether connect() may ever reuse the port of a TIME_WAIT to the same server.

    net/ipv4/tcp_ipv4.c, tcp_twsk_unique: tcp_tw_reuse=2 means only loopback addresses; never without timestamps.
    """
    return bool(timestamps) and (tw_reuse == 1 or (tw_reuse == 2 and loopback))


def time_waits(closings: int, max_tw_buckets: int) -> int:
    """The number of TIME_WAITs after this many closings (net/ipv4/inet_timewait_sock.c, inet_twsk_alloc).

    The kernel compares unsigned numbers, so a limit below 0 means no limit.
    """
    return closings if max_tw_buckets < 0 else min(closings, max_tw_buckets)


def window_scale(window_scaling: int, tcp_rmem_max: int, core_rmem_max: int) -> int:
    """The shift count that an end offers (net/ipv4/tcp_output.c, tcp_select_initial_window; RFC 7323, section 2.3).

    It is chosen for the largest receive buffer that tcp_rmem or SO_RCVBUF allows.
    """
    if not window_scaling:
        return 0
    return min(max(max(tcp_rmem_max, core_rmem_max).bit_length() - 1 - 15, 0), 14)


def timestamps(tcp_timestamps: int) -> str:
    """The clock of TSval: it has a random offset only at 1 (net/core/secure_seq.c, secure_tcp_ts_off)."""
    return {0: "none", 1: "a clock of its own"}.get(tcp_timestamps, "the machine's uptime")


def ecn_agreed(tcp_ecn: int, congestion_control: str) -> bool:
    """Whether two ends under the same sysctls agree on ECN (include/net/tcp_ecn.h, tcp_ecn_send_syn).

    At 1, 3 and 4 the SYN requests it (3: accurate ECN); 2 and 5 only accept it. dctcp always requests it.
    """
    return tcp_ecn in (1, 3, 4) or congestion_control == "dctcp"


def send_buffer(default: int, most: int, mss: int) -> tuple[int, int]:
    """The smallest and the largest SO_SNDBUF after connecting (net/ipv4/tcp_input.c, tcp_sndbuf_expand).

    It is tcp_wmem's second value if that has room for twice the initial window of 10 segments and their overhead (more
    for some congestion controls); otherwise it grows to that size, up to the third value. If the third value is less
    than the second, it lies between the two.
    """
    wanted = 2 * 10 * mss
    if default < wanted:
        return min(wanted, most), most
    return min(default, most), max(default, most)
