"""Sentences made at the edge, in Korean and English, from codes and values that files keep. Stdlib only."""
