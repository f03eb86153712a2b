"""Asking registries what an image is: the port, and the adapter that speaks their protocol."""
