"""Readings to alarms, alarms to closed."""
