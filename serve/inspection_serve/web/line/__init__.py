"""Line: how the stations stand, what they see, their alarms, and the recipe in force.

state.py    STATION.json as the line wrote it           watch.py   one thread that looks for everybody
words.py    what it means, in the reader's language     routes.py  pages, picture, one stream of events
api.py      /api/v1/line: state, alarms, control, recipe
"""
