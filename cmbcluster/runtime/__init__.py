"""What runs environments. ``port.py`` is the contract; a folder each keeps it."""
