"""Ways to look at a timeline. A view asks the kernel nothing."""
