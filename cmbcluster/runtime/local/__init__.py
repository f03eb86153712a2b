"""Environments as processes of this machine, sandboxed as far as the machine allows."""
