"""Numbers about quality: intervals of shares that say no more than was reviewed, and control charts."""
