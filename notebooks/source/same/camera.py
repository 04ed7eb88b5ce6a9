import cv2
import numpy as np

WIDTH, HEIGHT = 128, 96
CLASSES = ["scratch", "dent"]


def draw_part(rng, defect="", light=0.0, faintest=18):
    """Return a grey picture of a brushed plate with two holes, and the box of its defect or None."""
    image = np.full((HEIGHT, WIDTH), 135.0 + light)
    image += rng.normal(0, 6, (HEIGHT, 1)) + rng.normal(0, 3, (HEIGHT, WIDTH))
    for x in (30, 98):
        cv2.circle(image, (x, 48), 10, 45.0, -1)
    contrast, box = rng.uniform(faintest, 75), None
    x, y = int(rng.integers(28, 101)), int(rng.choice([14, 17, 79, 82]))
    if defect == "scratch":
        dx, dy = int(rng.integers(12, 24)), int(rng.integers(-6, 7))
        cv2.line(image, (x - dx, y - dy), (x + dx, y + dy), image[y, x] + contrast, 2)
        box = (x - dx - 2, y - abs(dy) - 2, x + dx + 2, y + abs(dy) + 2)
    if defect == "dent":
        r = int(rng.integers(5, 9))
        cv2.circle(image, (x, y), r, image[y, x] - contrast, -1)
        box = (x - r - 1, y - r - 1, x + r + 1, y + r + 1)
    return np.clip(cv2.GaussianBlur(image, (3, 3), 0), 0, 255).astype(np.uint8), box


def label_line(defect, box):
    """Return one line of a YOLO label file: class, centre and size as shares of the picture."""
    x1, y1, x2, y2 = np.clip(np.divide(box, [WIDTH, HEIGHT, WIDTH, HEIGHT]), 0, 1)
    return f"{CLASSES.index(defect)} {(x1 + x2) / 2:.6f} {(y1 + y2) / 2:.6f} {x2 - x1:.6f} {y2 - y1:.6f}\n"


def labelled_folder(folder, lots, parts, seed, faintest=18):
    """Write pictures and labels as a labelling tool leaves them; about half of the parts are good."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text(f"path: .\ntrain: images\nnames: {CLASSES}\n")
    rng = np.random.default_rng(seed)
    for lot in range(1, lots + 1):
        for part in range(1, parts + 1):
            light = rng.normal(0, 4)  # it flickers: parts of one lot are no more alike than others
            defect = str(rng.choice(["", "", *CLASSES]))
            image, box = draw_part(rng, defect, light, faintest)
            name = f"LOT{lot:02d}_{part:03d}"
            cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
            text = label_line(defect, box) if box else ""  # an empty file: looked at, and good
            (folder / "labels" / f"{name}.txt").write_text(text)
    return folder
