"""Pages of plain HTML, for where the application itself cannot or must not be loaded."""
