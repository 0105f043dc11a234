"""What a scenario has in its hand: the lab, its actors and programs, and the line to the helper processes."""
