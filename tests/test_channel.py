"""Messages between two processes arrive complete, with any number of file descriptors."""

import errno
import os
import resource

import pytest

from harness.inside.channel import Channel


@pytest.fixture
def pair():
    ends = Channel.pair()
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize("count", [0, 1, 64, 65, 253, 254, 300])
def test_any_number_of_fds_arrives_with_its_message(pair, count):
    ours, theirs = pair
    fd = os.memfd_create("sent")
    ours.send("message", (fd,) * count)
    message, fds = theirs.receive()
    assert (message, len(fds)) == ("message", count)
    assert all(os.path.sameopenfile(fd, each) for each in fds)
    for each in (fd, *fds):
        os.close(each)


def test_too_many_fds_are_an_error_and_none_stays_open(pair):
    ours, theirs = pair
    fd = os.memfd_create("sent")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = set(os.listdir("/proc/self/fd"))
    # First, because the limit also counts all fds that an ordinary user's processes have sent and that are not received
    # yet, and other tests send some (ETOOMANYREFS; too_many_unix_fds).
    ours.send("message", (fd,) * 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) + 10, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            theirs.receive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert set(os.listdir("/proc/self/fd")) == before
    os.close(fd)
