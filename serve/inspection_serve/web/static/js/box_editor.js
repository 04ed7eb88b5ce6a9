// Correcting boxes by mouse, touch and keyboard; all values are pixels of the picture, clipped to it.
//
// Keys on a box: arrows move, Shift+arrows resize, Ctrl makes ten pixels of one, Delete removes, Tab goes on.
// Who cannot drag adds a box with the button and moves it with the keys.
import { _ } from "/static/js/text.js";

const LEAST = 2; // pixels, smallest side of a box
const STEP = 1;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const tenth = (value) => Math.round(value * 10) / 10;
const between = (value, low, high) => Math.min(Math.max(value, low), high);

export class BoxEditor {
  constructor(parent, { boxes, classes, size, names, place, zoom, pan }) {
    this.size = size;
    this.names = names;
    this.place = place;
    this.changed = false;
    this.current = -1;
    this.drag = null;
    this.items = [];
    this.element = document.createElement("div");
    this.element.className = "editor";
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", _("Correct the boxes"));
    parent.append(this.element);
    this.#bar(classes, zoom, pan);
    for (const { class: name, box } of boxes) this.#add(name, [...box]);
    this.element.addEventListener("pointerdown", (event) => this.#down(event));
    this.element.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"])
      this.element.addEventListener(name, (event) => this.#up(event));
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.#choose(boxes.length ? 0 : -1);
  }

  // Boxes [{class, box}]; null when nobody changed one.
  corrected() {
    if (!this.changed) return null;
    return this.items.map(({ name, box }) => ({ class: name, box: box.map(tenth) }));
  }

  close() {
    this.element.remove();
  }

  draw({ x, y, scale } = this.place()) {
    for (const { box, button } of this.items) {
      button.style.transform = `translate(${x + box[0] * scale}px, ${y + box[1] * scale}px)`;
      button.style.width = `${(box[2] - box[0]) * scale}px`;
      button.style.height = `${(box[3] - box[1]) * scale}px`;
    }
  }

  #bar(classes, zoom, pan) {
    const bar = document.createElement("div");
    bar.className = "editor-bar";
    const label = document.createElement("label");
    const text = document.createElement("span");
    text.className = "visually-hidden";
    text.textContent = _("Class of the box");
    this.select = document.createElement("select");
    for (const name of classes) {
      const option = new Option(this.names[name] ?? name, name);
      this.select.append(option);
    }
    this.select.addEventListener("change", () => this.#rename(this.select.value));
    label.append(text, this.select);
    bar.append(label);
    const button = (words, call) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = words;
      made.addEventListener("click", call);
      bar.append(made);
      return made;
    };
    this.adding = button(_("Add a box"), () => this.#addInTheMiddle());
    this.adding.disabled = classes.length === 0;
    this.removing = button(_("Delete the box"), () => this.#remove(this.current));
    button("+", () => zoom(1.5)).setAttribute("aria-label", _("Zoom in"));
    button("−", () => zoom(1 / 1.5)).setAttribute("aria-label", _("Zoom out"));
    const ways = [
      ["←", -0.25, 0, _("Look further left")],
      ["→", 0.25, 0, _("Look further right")],
      ["↑", 0, -0.25, _("Look further up")],
      ["↓", 0, 0.25, _("Look further down")],
    ];
    for (const [sign, x, y, words] of ways) button(sign, () => pan(x, y)).setAttribute("aria-label", words);
    this.element.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.25 : 0.8);
    });
    this.element.append(bar);
    this.bar = bar;
  }

  #add(name, box) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "editor-box";
    const label = document.createElement("span");
    label.className = "editor-name";
    button.append(label);
    for (const at of ["nw", "ne", "sw", "se"]) {
      const grip = document.createElement("span");
      grip.className = "editor-grip";
      grip.dataset.at = at;
      button.append(grip);
    }
    const item = { name, box: this.#clipped(box), button, label };
    button.addEventListener("focus", () => this.#choose(this.items.indexOf(item)));
    this.items.push(item);
    this.element.insertBefore(button, this.bar);
    this.#tell(item);
    return item;
  }

  #clipped([x1, y1, x2, y2]) {
    const { width, height } = this.size;
    const [left, right] = [Math.min(x1, x2), Math.max(x1, x2)];
    const [top, bottom] = [Math.min(y1, y2), Math.max(y1, y2)];
    const [a, b] = [between(left, 0, width - LEAST), between(top, 0, height - LEAST)];
    return [a, b, between(right, a + LEAST, width), between(bottom, b + LEAST, height)];
  }

  // Name, place and size in words, for who does not see the picture.
  #tell(item) {
    const name = this.names[item.name] ?? item.name;
    const [x1, y1, x2, y2] = item.box.map(Math.round);
    const values = { name, x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
    const text = _("Box {name}, at {x}, {y}, size {width} by {height} pixels", values);
    item.button.setAttribute("aria-label", text);
    item.label.textContent = `✎ ${name}`;
    this.draw();
  }

  #choose(index) {
    this.current = index;
    this.items.forEach(({ button }, place) => button.setAttribute("aria-current", String(place === index)));
    this.removing.disabled = index < 0;
    if (index >= 0) this.select.value = this.items[index].name;
  }

  #set(item, box) {
    item.box = this.#clipped(box);
    this.changed = true;
    this.#tell(item);
  }

  #rename(name) {
    const item = this.items[this.current];
    if (!item || item.name === name) return;
    item.name = name;
    this.changed = true;
    this.#tell(item);
  }

  #remove(index) {
    const [item] = index >= 0 ? this.items.splice(index, 1) : [];
    if (!item) return;
    item.button.remove();
    this.changed = true;
    this.#choose(this.items.length ? Math.min(index, this.items.length - 1) : -1);
    if (this.items.length) this.items[this.current].button.focus();
    else this.adding.focus();
  }

  #addInTheMiddle() {
    const { x, y, scale } = this.place();
    const middle = [(this.element.clientWidth / 2 - x) / scale, (this.element.clientHeight / 2 - y) / scale];
    const half = Math.max(this.element.clientWidth / scale / 16, LEAST);
    const [a, b] = [between(middle[0], half, this.size.width - half), between(middle[1], half, this.size.height - half)];
    const item = this.#add(this.select.value, [a - half, b - half, a + half, b + half]);
    this.changed = true;
    item.button.focus();
  }

  #at(event) {
    const frame = this.element.getBoundingClientRect();
    const { x, y, scale } = this.place();
    return [(event.clientX - frame.left - x) / scale, (event.clientY - frame.top - y) / scale];
  }

  #down(event) {
    if (this.drag || event.button > 0 || this.bar.contains(event.target)) return;
    const start = this.#at(event);
    const button = event.target.closest(".editor-box");
    const item = this.items.find((one) => one.button === button);
    const at = event.target.dataset.at ?? "";
    if (!item && this.adding.disabled) return;
    event.preventDefault();
    this.element.setPointerCapture(event.pointerId);
    this.drag = { pointer: event.pointerId, start, item, at, from: item ? [...item.box] : null };
    item?.button.focus();
  }

  #move(event) {
    if (this.drag?.pointer !== event.pointerId) return;
    const { start, item, at, from } = this.drag;
    const now = this.#at(event);
    if (!item) {
      const far = Math.hypot(now[0] - start[0], now[1] - start[1]) * this.place().scale;
      if (far < 6) return; // a tap draws nothing
      const made = this.#add(this.select.value, [...start, ...now]);
      this.changed = true;
      this.drag = { ...this.drag, item: made, at: "new", from: [...start, ...start] };
      made.button.focus();
      return;
    }
    const [dx, dy] = [now[0] - start[0], now[1] - start[1]];
    if (at === "new") this.#set(item, [...start, ...now]);
    else if (at) this.#set(item, this.#pulled(from, at, dx, dy));
    else if (dx || dy) this.#shift(item, from, dx, dy);
  }

  #up(event) {
    if (this.drag?.pointer === event.pointerId) this.drag = null;
  }

  #pulled([x1, y1, x2, y2], at, dx, dy) {
    return [
      at.endsWith("w") ? Math.min(x1 + dx, x2 - LEAST) : x1,
      at.startsWith("n") ? Math.min(y1 + dy, y2 - LEAST) : y1,
      at.endsWith("e") ? Math.max(x2 + dx, x1 + LEAST) : x2,
      at.startsWith("s") ? Math.max(y2 + dy, y1 + LEAST) : y2,
    ];
  }

  // Move without changing the size.
  #shift(item, [x1, y1, x2, y2], dx, dy) {
    const [a, b] = [between(dx, -x1, this.size.width - x2), between(dy, -y1, this.size.height - y2)];
    this.#set(item, [x1 + a, y1 + b, x2 + a, y2 + b]);
  }

  #key(event) {
    const item = this.items.find((one) => one.button === event.target);
    if (!item || event.altKey || event.metaKey) return;
    const way = ARROWS[event.code];
    if (way) {
      const by = event.ctrlKey ? 10 * STEP : STEP;
      const [dx, dy] = [way[0] * by, way[1] * by];
      const [x1, y1, x2, y2] = item.box;
      if (event.shiftKey) this.#set(item, this.#pulled(item.box, "se", dx, dy));
      else this.#shift(item, [x1, y1, x2, y2], dx, dy);
    } else if (event.code === "Delete" || event.code === "Backspace") {
      this.#remove(this.items.indexOf(item));
    } else return;
    event.preventDefault();
    event.stopPropagation(); // the page's own keys must not hear it
  }
}
