"""``cmbcluster`` as a client: what a script or a person at a terminal asks of a platform, over HTTP alone."""
