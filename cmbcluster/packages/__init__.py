"""Turning a Python source into a lock: exact files with hashes."""
