"""What is seen: frames, sockets, transitions, counters, holders. Frozen records on one clock, CLOCK_MONOTONIC in ns."""
