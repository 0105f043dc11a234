"""The words of the scenarios: NAME.toml beside each NAME.py."""
