"""The platform as separate processes, each a role, for clusters with several replicas of each."""
