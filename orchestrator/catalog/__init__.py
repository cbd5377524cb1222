"""The catalogue: which apps exist, and how a name finds its repository."""
