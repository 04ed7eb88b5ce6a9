"""Quality: whether the station keeps its promise: counts over time, defects, escapes, overkill, charts.

period (which time, which buckets) ─▶ summary ◀─ counts of the store, estimates of what people judged
summary ─▶ routes (page, tables, bars), api (JSON, CSV); positions apart, it reads parts
"""
