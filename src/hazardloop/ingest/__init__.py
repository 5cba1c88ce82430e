"""Broker messages to stored, flagged readings."""
