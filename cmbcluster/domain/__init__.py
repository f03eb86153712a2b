"""Pure words and rules of the platform. Nothing here does I/O or reads a clock."""
