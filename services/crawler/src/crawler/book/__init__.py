"""What is known of a symbol's order book, and how: pure, without I/O, clock or log."""
