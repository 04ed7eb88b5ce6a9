"""The plant store: what every station decided, on one PostgreSQL server of the plant.

    station's store ─▶ source.py ─┐
    station's outbox ─▶ messages ─┴▶ writer.py ─▶ parts, verdicts, alarms + the mark, one transaction
                                     life.py   ─▶ what happens to a part after it was decided; reviews
    identity.py: is this the station that the plant knows?     months.py: partitions by month of the trigger
    database.py: made by `inspection plant init`               invariant.py: what `verify` looks at there

The pages and `verify` read it with the queries that they use on a station: the tables have the same columns.
Verdicts are given at the station; the plant has them to read. `inspection_serve.upward.plant` is the link.
"""
