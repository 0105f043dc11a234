"""What the kernel should do: when things end (timers), how many there can be (limits). Pure functions."""
