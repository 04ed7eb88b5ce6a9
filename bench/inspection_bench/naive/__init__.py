"""The line as most people write it: an honest reference, on the same frames and the same PLC.

    station.py: poll the PLC ─▶ frame ─▶ JPEG ─▶ POST ─▶ answer ─▶ write the PLC
    service.py: FastAPI UploadFile ─▶ decode ─▶ ultralytics predict ─▶ imwrite ─▶ SQLAlchemy commit

Nothing in it is slow on purpose. It keeps its HTTP connection and its session open, and commits before the
PLC is told, as ours does.
"""
