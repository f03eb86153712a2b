"""The edge: the one public door, and the gate it asks."""
