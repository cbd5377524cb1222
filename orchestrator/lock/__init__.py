"""The lock: what an installation consists of, how two differ, and what makes a build take the same again."""
