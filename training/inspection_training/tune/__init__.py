"""`inspection tune`: which runtime, precision and threads are fastest on this PC, against a deadline."""
