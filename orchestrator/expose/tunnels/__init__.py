"""Tunnels: the providers of public URLs, which of them is possible here, and the supervision of the one in use."""
