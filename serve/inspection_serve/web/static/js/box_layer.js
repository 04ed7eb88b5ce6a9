// Boxes over a picture: lines of constant width, a label on a dark plate. It only shows; box_editor.js changes.
const SVG = "http://www.w3.org/2000/svg";
const LABEL = 22; // pixels, height of a label's plate

function shape(tag, parent) {
  const found = document.createElementNS(SVG, tag);
  parent.append(found);
  return found;
}

export class BoxLayer {
  constructor(parent, nameOf) {
    this.nameOf = nameOf;
    this.boxes = [];
    this.drawn = [];
    this.element = document.createElement("div");
    this.element.className = "viewer-layer";
    this.element.setAttribute("aria-hidden", "true"); // the list beside the picture tells the same in words
    this.svg = shape("svg", this.element);
    parent.append(this.element);
  }

  // boxes: [{class, score, box: [x1, y1, x2, y2], outline?: [[x, y] …], counted?, human?}] in image pixels.
  set(boxes) {
    this.boxes = boxes;
    this.svg.replaceChildren();
    for (const label of this.element.querySelectorAll(".viewer-label")) label.remove();
    this.drawn = boxes.map((box) => this.#made(box));
  }

  #made(box) {
    const group = shape("g", this.svg);
    group.setAttribute("class", this.#kind(box));
    const lines = ["viewer-under", "viewer-line"].map((name) => {
      const line = shape(box.outline?.length ? "polygon" : "rect", group);
      line.setAttribute("class", name);
      return line;
    });
    const cross = shape("line", group);
    cross.setAttribute("class", "viewer-strike");
    const label = document.createElement("span");
    label.className = `viewer-label ${this.#kind(box)}`;
    const mark = box.human ? "✎" : box.counted === false ? "·" : "▲";
    const score = typeof box.score === "number" ? ` ${box.score.toFixed(2)}` : "";
    label.textContent = `${mark} ${this.nameOf(box.class)}${score}`;
    this.element.append(label);
    return { group, lines, cross, label };
  }

  #kind(box) {
    if (box.human) return "viewer-human";
    return box.counted === false ? "viewer-uncounted" : "viewer-found";
  }

  // place: pane pixels of the picture's corner and of one of its pixels; width of the pane.
  draw({ x, y, scale }, width) {
    this.boxes.forEach((box, index) => {
      const { lines, cross, label } = this.drawn[index];
      const [left, top] = [x + box.box[0] * scale, y + box.box[1] * scale];
      const [wide, high] = [(box.box[2] - box.box[0]) * scale, (box.box[3] - box.box[1]) * scale];
      for (const line of lines) {
        if (box.outline?.length) {
          const points = box.outline.map(([a, b]) => `${x + a * scale},${y + b * scale}`);
          line.setAttribute("points", points.join(" "));
        } else {
          const values = { x: left, y: top, width: Math.max(wide, 1), height: Math.max(high, 1) };
          for (const [name, value] of Object.entries(values)) line.setAttribute(name, value);
        }
      }
      const ends = { x1: left, y1: top + high, x2: left + wide, y2: top };
      for (const [name, value] of Object.entries(ends)) cross.setAttribute(name, value);
      const over = top >= LABEL + 2 ? top - LABEL - 2 : top + high + 2;
      const inside = Math.min(Math.max(left, 0), Math.max(width - label.offsetWidth, 0));
      label.style.transform = `translate(${inside}px, ${over}px)`;
    });
  }

  show(on) {
    this.element.hidden = !on;
  }

  strike(on) {
    this.element.classList.toggle("viewer-struck", on);
  }

  highlight(index) {
    this.drawn.forEach(({ group, label }, place) => {
      group.classList.toggle("viewer-marked", place === index);
      label.classList.toggle("viewer-marked", place === index);
    });
  }

  // Index of the smallest box around a point of the picture, -1 without one.
  at({ x, y }) {
    let [found, smallest] = [-1, Infinity];
    if (this.element.hidden) return found;
    this.boxes.forEach(({ box }, index) => {
      const area = (box[2] - box[0]) * (box[3] - box[1]);
      const inside = x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3];
      if (inside && area < smallest) [found, smallest] = [index, area];
    });
    return found;
  }

  // Index of the box with the highest score that counts, else of any; -1 without one.
  strongest() {
    let found = -1;
    const weight = (box) => (box.counted === false ? 0 : 2) + (box.score ?? 1);
    this.boxes.forEach((box, index) => {
      if (found < 0 || weight(box) > weight(this.boxes[found])) found = index;
    });
    return found;
  }
}
