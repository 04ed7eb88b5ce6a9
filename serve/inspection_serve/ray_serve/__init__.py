"""The inference service over a Ray cluster: one front, and replicas of each release on its nodes."""
