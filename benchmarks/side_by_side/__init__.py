"""Our worker beside two subscribers that people write themselves: same broker, table, messages."""
