"""CMBCluster: private, time-limited research environments on a laptop or a cluster."""

__version__ = "0.1.0"
