"""How the platform learns who somebody is."""
