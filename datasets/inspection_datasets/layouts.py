"""The names of the layouts that can be imported and exported. Imports nothing, so that help is quick."""

from __future__ import annotations

from enum import StrEnum


class LayoutName(StrEnum):
    """Layouts that can be imported."""

    AUTO = "auto"
    DEEPPCB = "deeppcb"
    YOLO = "yolo"
    LABEL_STUDIO = "label-studio"
    COCO = "coco"
    CVAT = "cvat"
    VOC = "voc"
    LABELME = "labelme"
    MASKS = "masks"
    LIST = "list"
    FOLDERS = "folders"


class ExportName(StrEnum):
    """Layouts that can be written."""

    YOLO = "yolo"
    COCO = "coco"
    VOC = "voc"


LAYOUTS: dict[str, str] = {
    "deeppcb": "trainval.txt and test.txt with pairs of tested board and template",
    "yolo": "data.yaml, or obj.data of CVAT's YOLO 1.1; boxes and polygons",
    "label-studio": "a json list of tasks with `data` and `annotations`",
    "coco": "a json with `images` and `annotations`; boxes, polygons, run-length masks",
    "cvat": "an xml of CVAT for images 1.1, `<annotations>` with `<image>`",
    "voc": "Annotations/*.xml with `<annotation>`, one for each image",
    "labelme": "a json for each image, with `shapes` and `imagePath`",
    "masks": "a folder of class-mask PNGs (masks, SegmentationClass) and classes.json or labelmap.txt",
    "list": "a .csv or .txt list of image and label or defect probability",
    "folders": "a folder for each class; good, ok, normal, 정상, 양품 hold good parts",
}
"""Name to what it is recognised by, in the order in which they are tried."""

EXPORTS: dict[str, str] = {
    "yolo": "boxes, polygons, states, splits",
    "coco": "everything",
    "voc": "boxes, states, splits",
}
"""Name of a layout that can be written to what it carries."""
