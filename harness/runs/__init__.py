"""A run of pytest: started, bounded, recorded, and compared with another."""
