"""The catalogue's seed: one YAML file an application, and what our own ones are made of."""
