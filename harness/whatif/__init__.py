"""What would this sysctl change do? Stories before and after it, side by side."""
