"""Plans: what an app would do on a machine, before anything is installed."""
