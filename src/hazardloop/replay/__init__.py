"""Stored readings through rules that are not in force: what would have been alarmed, and when."""
