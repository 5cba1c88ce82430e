"""Telemetry of major hazard sources, tiered alarms, and a loop that handles every alarm."""

__version__ = "0.1.0"
