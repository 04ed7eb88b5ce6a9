"""The book: golden parts and limit samples, one key away from the review; engineers keep it."""
