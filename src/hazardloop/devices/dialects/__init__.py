"""What gateways say in other words than ours: a reader for each dialect, bytes in, readings out."""
