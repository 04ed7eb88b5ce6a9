"""Upward: a process of its own tells MES, QMS and dashboards what a station decided. The line never waits.

    outbox (in the store) ─▶ sender.py, one thread a destination ─▶ mqtt.py   a broker
         messages.py: what is said      link.py: how they fail    ├▶ webhook.py an HTTP server
         state.py: how the line stands                            ├▶ csv_drop.py a folder
                                                                  ├▶ plant.py    the plant's store
                                                                  └▶ pull.py     nobody: who asks the pages

A message is told at least once, in order, under an id that never changes: who receives drops what it has.
process.py runs them, lateness.py raises the alarms, metrics.py has the numbers, and cli.py is
`inspection upward`.
"""
