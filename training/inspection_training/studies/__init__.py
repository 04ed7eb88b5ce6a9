"""Studies of the trade: agreement, gauge R&R, control charts, sampling plans."""
