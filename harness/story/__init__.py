"""What happened in one lab, as records: the timeline, its connections, its shape, its outcome."""
