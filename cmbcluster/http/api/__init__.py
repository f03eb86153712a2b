"""The HTTP API for scripts, below ``/api/v1``: the services again, in JSON."""
