"""The results store: one row for each trigger, durable before the PLC is told.

config.py    what a person sets; `open_store` and `open_images`
sql.py       SqlStore: what the line calls; memory and journal for bad times
writes.py    the statements of each call       rows.py  line types to columns and back
prepared.py  those of each part, compiled once
database.py  opening, checking, migrating      journal.py  fixed slots that work on a full disk
images.py    picture files and their thread    guard.py  disk space and age of pictures
queries.py   reading, and verdicts             verify.py  the invariants, checked
silence.py   cutting PostgreSQL connections on which no answer comes
"""
