"""What each sysctl would do here, and the profiles that scenarios run under."""
