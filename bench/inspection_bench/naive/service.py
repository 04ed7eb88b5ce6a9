"""The naive inference service: `python -m inspection_bench.naive.service MODEL LIMITS.json FOLDER PORT`.

LIMITS.json: {"t1": {class: score}, "t2": {class: score}, "imgsz": [height, width] or side}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, Form, UploadFile
from sqlalchemy.orm import Session

from inspection_bench.naive.rows import Result, open_results


def decide(boxes: list[list[float]], names: list[str], limits: dict[str, dict[str, float]]) -> str:
    """Return PASS, REVIEW or FAIL; a box is x1 y1 x2 y2 score class."""
    found = [(box[4], names[int(box[5])]) for box in boxes]
    if any(score >= limits["t2"][name] for score, name in found):
        return "FAIL"
    return "REVIEW" if any(score >= limits["t1"][name] for score, name in found) else "PASS"


def open_yolo(model: Path, imgsz: Any, conf: float) -> Any:
    """Return a function from a BGR image to boxes, by ultralytics' `predict`."""
    from ultralytics import YOLO

    yolo = YOLO(model, task="detect")

    def predict(image: np.ndarray) -> list[list[float]]:
        found = yolo.predict(image, imgsz=imgsz, conf=conf, verbose=False)
        return found[0].boxes.data.tolist()

    predict(np.zeros((64, 64, 3), np.uint8))
    return predict


def build(model: Path, limits: dict[str, Any], folder: Path) -> FastAPI:
    names = list(limits["t1"])
    predict = open_yolo(model, limits["imgsz"], min(limits["t1"].values()))
    engine = open_results(folder / "results.db")
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/inspect")
    async def inspect(file: UploadFile, part_id: int = Form(0)) -> dict[str, Any]:
        data = np.frombuffer(await file.read(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
        boxes = predict(image)
        decision = decide(boxes, names, limits)
        path = folder / f"{part_id}.jpg"
        cv2.imwrite(str(path), image)
        with Session(engine) as session:
            row = Result(part_id=part_id, decision=decision, boxes=boxes, image=str(path))
            session.add(row)
            session.commit()
            return {"id": row.id, "decision": decision, "boxes": boxes}

    return app


def main() -> None:
    model, limits, folder, port = sys.argv[1:]
    app = build(Path(model), json.loads(Path(limits).read_text()), Path(folder))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning")


if __name__ == "__main__":
    main()
