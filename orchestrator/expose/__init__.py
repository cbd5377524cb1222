"""Reaching apps from outside: the gate, the tunnels, the guard."""
