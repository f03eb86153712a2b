"""One module per page: its state and how it is drawn."""
