"""The review station and the quality pages: FastAPI, Jinja2, htmx and small ES modules; no build step.

    cli ─▶ process (uvicorn) ─▶ app: headers ─▶ guard (who, may they, is it their own request) ─▶ an area
    areas: people, review, line, results, quality, models; each has routes, templates, one .po, one .js

The pages share only the store and the folders of the station with the line.
"""
