"""HTTP: a file for each area."""
