"""How many, how much, and what is agreed on, under given sysctls: pure functions, each with its source.

(When things end is predict/timers.py's.)
"""

from collections.abc import Collection


def backlog(asked: int, somaxconn: int) -> int:
    """What listen(asked) is given (net/socket.c, __sys_listen_socket): net.core.somaxconn at most."""
    return min(asked, somaxconn)


def accept_queue_places(given_backlog: int) -> int:
    """Connections that wait for accept(): one more than the backlog (include/net/sock.h, sk_acceptq_is_full)."""
    return given_backlog + 1


def half_open_places(given_backlog: int, syncookies: int, max_syn_backlog: int) -> int:
    """SYN_RECVs that a listener keeps (net/ipv4/tcp_input.c, tcp_conn_request).

    One more than the backlog (include/net/inet_connection_sock.h, inet_csk_reqsk_queue_is_full; just the backlog
    before commit 3479c7549fb1, "tcp/dccp: allow a connection when sk_max_ack_backlog is zero"). Without cookies, the
    last quarter of tcp_max_syn_backlog is kept for peers that the metrics cache knows. With tcp_syncookies=2, none.
    """
    if syncookies == 2:
        return 0
    unproven = max_syn_backlog - (max_syn_backlog >> 2) + 1
    return given_backlog + 1 if syncookies else min(given_backlog + 1, max(0, unproven))


def connect_ports(low: int, high: int, taken: Collection[int] = ()) -> tuple[int, int]:
    """The least and the most connections that connect() finds ports for towards one server.

    net/ipv4/inet_hashtables.c, __inet_hash_connect: each search tries an even number of ports, so where the range is
    odd it leaves one out; which one hangs on where it begins. `taken`: reserved ports, and those of listeners (a port
    that bind() has given out is passed over).
    """
    count = high - low + 1
    free = len(set(range(low, high + 1)).difference(taken))
    return max(0, free - (count % 2 if count > 1 else 0)), free


def port_set(bitmap: str) -> set[int]:
    """The ports of a list such as "8080,50000-50002", as ip_local_reserved_ports has it."""
    ranges = [each.split("-") for each in bitmap.split(",") if each]
    return {port for each in ranges for port in range(int(each[0]), int(each[-1]) + 1)}


def takes_time_wait_over(tw_reuse: int, timestamps: int, *, loopback: bool) -> bool:
    """Whether connect() may ever take the port of a TIME_WAIT towards the same server.

    net/ipv4/tcp_ipv4.c, tcp_twsk_unique: tcp_tw_reuse=2 means loopback addresses alone; never without timestamps.
    """
    return bool(timestamps) and (tw_reuse == 1 or (tw_reuse == 2 and loopback))


def time_waits(closings: int, max_tw_buckets: int) -> int:
    """How many TIME_WAITs that many closings leave (net/ipv4/inet_timewait_sock.c, inet_twsk_alloc).

    The comparison is one of unsigned numbers, so a limit below 0 is none.
    """
    return closings if max_tw_buckets < 0 else min(closings, max_tw_buckets)


def window_scale(window_scaling: int, tcp_rmem_max: int, core_rmem_max: int) -> int:
    """The shift count that an end offers (net/ipv4/tcp_output.c, tcp_select_initial_window; RFC 7323, section 2.3).

    It follows the largest buffer that either tcp_rmem or an SO_RCVBUF may reach.
    """
    if not window_scaling:
        return 0
    return min(max(max(tcp_rmem_max, core_rmem_max).bit_length() - 1 - 15, 0), 14)


def timestamps(tcp_timestamps: int) -> str:
    """By which clock TSval goes: only at 1 has it a random offset (net/core/secure_seq.c, secure_tcp_ts_off)."""
    return {0: "none", 1: "a clock of its own"}.get(tcp_timestamps, "the machine's uptime")


def ecn_agreed(tcp_ecn: int, congestion_control: str) -> bool:
    """Whether two ends under the same sysctls agree on ECN (include/net/tcp_ecn.h, tcp_ecn_send_syn).

    At 1, 3 and 4 the SYN asks for it (3: for accurate ECN); 2 and 5 only accept. dctcp asks whatever the sysctl says.
    """
    return tcp_ecn in (1, 3, 4) or congestion_control == "dctcp"


def send_buffer(default: int, most: int, mss: int) -> tuple[int, int]:
    """The least and the most that SO_SNDBUF may be once connected (net/ipv4/tcp_input.c, tcp_sndbuf_expand).

    The second value of tcp_wmem, where that has room for twice the initial window of 10 segments and their overhead
    (more for some congestion controls); otherwise that much, up to the third value, even where that is less than the
    second.
    """
    wanted = 2 * 10 * mss
    if default < wanted:
        return min(wanted, most), most
    return min(default, most), max(default, most)
