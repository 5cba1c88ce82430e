"""Broker and database that run beside us on one machine."""
