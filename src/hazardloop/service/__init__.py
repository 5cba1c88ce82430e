"""The one place that knows all of the others."""
