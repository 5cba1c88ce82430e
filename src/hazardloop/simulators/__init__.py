"""Seeded districts that report as real ones do."""
