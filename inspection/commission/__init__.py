"""Commissioning a PLC: its side of the line protocol as files, and a look at the link."""
