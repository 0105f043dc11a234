"""The kernel memory of sockets: sockstat compared with `ss -s`, slabs with slabinfo's own size, and both parsers."""

import os
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LabError
from harness.evidence import memory


def make_a_time_wait(address):
    listener = socket.create_server(address)
    connection = socket.create_connection(address)
    peer, _ = listener.accept()
    connection.close()
    peer.close()
    yield "closed"


def test_sockstat_counts_what_ss_counts(lab):
    lab.start(make_a_time_wait, lab.server_address, to="closed")
    lab.expect_table(LISTEN=1, TIME_WAIT=1)
    witness = lab.run_program(["ss", "-s"])
    assert witness.finish() == 0
    assert lab.sockstat("TCP tw") == int(re.search(r"timewait (\d+)", witness.output())[1]) == 1


def test_a_word_that_sockstat_does_not_have_is_refused(lab):
    with pytest.raises(LabError, match=r"sockstat has no 'TCP tv'. Hint: use one of .*TCP tw"):
        lab.sockstat("TCP tv")


def test_only_root_can_read_a_slab(lab):
    lab.start(make_a_time_wait, lab.server_address, to="closed")
    slab = lab.slab("tw_sock_TCP")
    assert (slab is not None) == os.access("/proc/slabinfo", os.R_OK)
    if slab:
        assert slab.objects >= 1
        assert slab.object_bytes >= 128  # struct inet_timewait_sock alone
    assert lab.slab("no such cache") is None


def test_lines_of_sockstat_are_read():
    text = "sockets: used 8\nTCP: inuse 1 orphan 0 tw 28232 alloc 1 mem 177\nUDP: inuse 0 mem 0\n"
    assert memory.parse_sockstat(text)["TCP tw"] == 28232
    assert memory.parse_sockstat(text)["sockets used"] == 8
    with pytest.raises(ValueError, match=r"shorter|longer"):
        memory.parse_sockstat("TCP: inuse 1 orphan\n")


def test_lines_of_slabinfo_are_read():
    text = "slabinfo - version: 2.1\n# name <active_objs> …\ntw_sock_TCP 32 48 256 16 1 : tunables 0 0 0\n"
    assert memory.parse_slab(text, "tw_sock_TCP") == memory.Slab(objects=32, object_bytes=256)
    assert memory.parse_slab(text, "TCP") is None


@given(st.dictionaries(st.from_regex(r"[A-Za-z]+", fullmatch=True), st.integers(0, 2**40), max_size=5))
def test_any_group_of_words_and_numbers_is_read(words):
    line = "TCP: " + " ".join(f"{word} {number}" for word, number in words.items())
    assert memory.parse_sockstat(line) == {f"TCP {word}": number for word, number in words.items()}
