"""What stands in the field, and what it says."""
