"""Search over experiments: many trainings, one table, the best one's run to release.

space.py    which settings are tried          trial.py    one training, scored on val
cluster.py  the trainings on a Ray cluster    table.py    what a person sees      cli.py  the verb
"""
