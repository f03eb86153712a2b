"""The runtime of clusters: every environment is a pod, with a claim that outlives it."""
