"""Dry runs: the real step loop on fixed answers, with nothing of the app executed."""
