"""How one part of the platform tells the others that something changed."""
