"""Notices out to people: who, over which channel, in which words, and what came of it."""
