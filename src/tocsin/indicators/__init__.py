"""What can be measured: indicators as shares of calls, by the names people write. Pure."""
