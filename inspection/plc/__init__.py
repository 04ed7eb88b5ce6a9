"""How the station talks to the line's PLC: the exchange, and one file per driver."""
