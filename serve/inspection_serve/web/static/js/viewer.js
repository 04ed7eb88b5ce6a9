// The picture of a part: zoom and pan, boxes, heat map, golden part beside it, correcting of boxes.
//
//   show(part) ─▶ old picture veiled ─▶ new one loaded unseen ─▶ swapped with its boxes in one frame ─▶ painted
//   prepare(part): loaded unseen beforehand, so that show() of it only has to swap
//
// An old picture is never shown with the data of a new part: it is veiled at once, and gone when the new one
// cannot be loaded. Nothing here changes the stored picture.
import { _ } from "/static/js/text.js";
import { BoxLayer } from "/static/js/box_layer.js";
import { Pane, loadLibrary } from "/static/js/pane.js";

const KEPT = 6; // pictures held ready

const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));

function made(tag, className, parent) {
  const found = document.createElement(tag);
  found.className = className;
  parent.append(found);
  return found;
}

const urlOf = (given) => (given && typeof given === "object" ? given.picture : given);

export class Viewer {
  #ready;
  #turn = 0;
  #kept = new Map();
  #held = null; // {url, loading}: the picture that is prepared
  #extra = { heat: null, swap: null }; // layers over the picture
  #following = false;
  #corrected = null;

  // element: a block with a height. onPainted(part): each time a picture was painted. onPick(index): a box was
  // tapped. names: class → its name in the page's language.
  constructor(element, { onPainted = null, onPick = null, names = {}, label = "" } = {}) {
    this.element = element;
    this.onPainted = onPainted;
    this.names = names;
    this.keepZoom = false; // true: zoom and place stay from part to part
    this.part = null;
    this.heatOpacity = 0.6;
    this.state = { boxes: true, heat: false, golden: false, strike: false, blink: false };
    this.view = { brightness: 1, contrast: 1 };
    this.editor = null;
    element.classList.add("viewer");
    this.mainElement = made("div", "viewer-pane", element);
    this.goldenElement = made("div", "viewer-pane viewer-golden", element);
    this.goldenElement.hidden = true;
    this.#ready = this.#open(label || _("Picture of the part"), onPick);
  }

  async #open(label, onPick) {
    const Library = await loadLibrary();
    this.main = new Pane(Library, made("div", "viewer-canvas", this.mainElement), label);
    this.layer = new BoxLayer(this.mainElement, (name) => this.names[name] ?? name);
    this.notice = made("p", "viewer-notice", this.mainElement);
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
    this.main.osd.addHandler("update-viewport", () => this.#redraw());
    this.main.osd.addHandler("resize", () => this.main.osd.forceRedraw());
    this.main.osd.addHandler("canvas-click", (event) => {
      if (!event.quick || !onPick || this.editor) return;
      const index = this.layer.at(this.#toImage(event.position));
      if (index >= 0) onPick(index);
    });
    this.mainElement.addEventListener("keydown", (event) => this.#panByKey(event));
  }

  // Resolves true when this part's picture is painted, false when another show() came meanwhile. Rejects with a
  // Problem when the picture cannot be shown; its text is in the pane, too.
  async show(part) {
    const turn = ++this.#turn;
    this.element.classList.add("viewer-veiled");
    this.element.setAttribute("aria-busy", "true");
    await this.#ready;
    if (turn !== this.#turn) return false;
    this.endEdit();
    let item = null;
    try {
      if (part.picture) item = await this.#load(part);
    } catch (problem) {
      if (turn !== this.#turn) return false;
      this.#settle(null, { ...part, picture: null, boxes: [] });
      this.#say(`■ ${problem.message}`);
      throw problem;
    }
    if (turn !== this.#turn) {
      this.main.drop(item);
      return false;
    }
    const same = this.part && this.part.width === part.width && this.part.height === part.height;
    this.#settle(item, part);
    if (item && !(this.keepZoom && same)) this.fit(true);
    this.#say(item ? "" : (part.why ?? _("There is no picture of this part.")));
    await this.#painted(item);
    if (turn !== this.#turn) return false;
    this.onPainted?.(part);
    this.#layers();
    return true;
  }

  async #painted(item) {
    if (item) return this.main.painted(item);
    await frame();
    return frame();
  }

  // Load the picture of the part that is likely next, unseen; one is held. That it cannot be shown is said by
  // show().
  async prepare({ picture, width, height }) {
    await this.#ready;
    if (!picture || this.#held?.url === picture) return;
    this.#release();
    const held = { url: picture, loading: this.main.load(picture, width * height) };
    this.#held = held;
    await held.loading.catch(() => {
      if (this.#held === held) this.#held = null;
    });
  }

  #release() {
    this.#held?.loading.then((item) => this.main.drop(item)).catch(() => {});
    this.#held = null;
  }

  #load({ picture, width, height }) {
    if (this.#held?.url !== picture) return this.main.load(picture, width * height);
    const { loading } = this.#held;
    this.#held = null;
    return loading;
  }

  #settle(item, part) {
    for (const name of Object.keys(this.#extra)) this.#remove(name);
    this.part = part;
    this.#corrected = null;
    this.state.blink = this.state.strike = false;
    this.main.put(item, part.width || 1);
    this.layer.set(item ? (part.boxes ?? []) : []);
    this.layer.strike(false);
    this.layer.show(this.state.boxes);
    this.golden?.put(null, 1);
    this.element.classList.remove("viewer-veiled");
    this.element.setAttribute("aria-busy", "false");
    this.#redraw();
  }

  #redraw() {
    if (!this.main.item) return;
    const place = this.main.place();
    this.layer.draw(place, this.mainElement.clientWidth);
    this.editor?.draw(place);
  }

  #say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  #toImage(position) {
    const { x, y, scale } = this.main.place();
    return { x: (position.x - x) / scale, y: (position.y - y) / scale };
  }

  // Layers that the person switched on stay on from part to part.
  #layers() {
    if (this.state.heat) this.#heat();
    if (this.state.golden) this.#beside();
  }

  // Switch "boxes", "heat" or "golden"; returns how it is now.
  toggle(name, on = !this.state[name]) {
    if (!["boxes", "heat", "golden"].includes(name)) throw new Error(`no layer ${name}`);
    this.state[name] = on;
    if (!this.part) return on;
    if (name === "boxes") this.layer.show(on);
    else if (name === "heat") this.#heat();
    else this.#beside();
    return on;
  }

  async #over(name, url, pixels) {
    const turn = this.#turn;
    if (!this.#extra[name]) {
      const item = await this.main.load(url, pixels);
      if (turn !== this.#turn || this.#extra[name]) {
        this.main.drop(item);
        return null;
      }
      this.#extra[name] = item;
    }
    return this.#extra[name];
  }

  #remove(name) {
    this.main?.drop(this.#extra[name]);
    this.#extra[name] = null;
  }

  async #heat() {
    if (!this.state.heat || !this.main.item) {
      this.#extra.heat?.setOpacity(0);
      return this.#say("");
    }
    if (!this.part.heat) return this.#say(_("There is no heat map of this part."));
    const turn = this.#turn;
    try {
      if (!this.#extra.heat) this.#say(_("The heat map is being computed …"));
      const item = await this.#over("heat", this.part.heat, 0);
      if (turn !== this.#turn) return;
      item?.setOpacity(this.state.heat ? this.heatOpacity : 0);
      this.#say(this.state.heat ? _("Heat map: computed again from the stored picture") : "");
    } catch (problem) {
      if (turn === this.#turn) this.#say(_("No heat map: {why}", { why: problem.message }));
    }
  }

  // Opacity of the heat map, 0 to 1.
  setHeatOpacity(value) {
    this.heatOpacity = Math.min(Math.max(value, 0), 1);
    if (this.state.heat) this.#extra.heat?.setOpacity(this.heatOpacity);
  }

  async #beside() {
    const url = urlOf(this.part?.golden);
    this.element.classList.toggle("viewer-two", this.state.golden);
    this.goldenElement.hidden = !this.state.golden;
    if (!this.state.golden) return;
    if (!this.golden) this.#openGolden();
    this.goldenNote.textContent = url ? _("Golden part") : _("There is no golden part for this recipe.");
    if (!url) return this.golden.put(null, 1);
    const turn = this.#turn;
    try {
      const item = await this.golden.load(url);
      if (turn !== this.#turn) return this.golden.drop(item);
      this.golden.put(item, this.part.width);
      this.#follow(this.main, this.golden);
    } catch (problem) {
      if (turn === this.#turn) this.goldenNote.textContent = problem.message;
    }
  }

  #openGolden() {
    const pane = made("div", "viewer-canvas", this.goldenElement);
    this.golden = new Pane(this.main.Library, pane, _("Golden part"));
    this.goldenNote = made("p", "viewer-caption", this.goldenElement);
    this.adjust();
    const both = [
      [this.main, this.golden],
      [this.golden, this.main],
    ];
    for (const [from, to] of both)
      for (const event of ["zoom", "pan", "resize"]) from.osd.addHandler(event, () => this.#follow(from, to));
  }

  // Keep both panes at the same place of the picture.
  #follow(from, to) {
    if (this.#following || !from.item || !to?.item) return;
    this.#following = true;
    to.viewport.zoomTo(from.viewport.getZoom(), null, true);
    to.viewport.panTo(from.viewport.getCenter(), true);
    this.#following = false;
  }

  // Swap part and golden part in the same place; returns whether the golden part is on top now.
  async blink(on = !this.state.blink) {
    const url = urlOf(this.part?.golden);
    if (!url || !this.main.item) return false;
    this.state.blink = on;
    const item = await this.#over("swap", url, 0).catch(() => null);
    const top = Boolean(item) && this.state.blink;
    item?.setOpacity(top ? 1 : 0);
    this.state.blink = top;
    this.layer.show(this.state.boxes && !top);
    this.#say(top ? _("Golden part") : "");
    return top;
  }

  // Show the whole picture.
  fit(immediately = false) {
    if (this.main?.item) this.main.viewport.fitBounds(this.main.item.getBounds(), immediately);
  }

  // One pixel of the camera for one of the screen.
  oneToOne() {
    if (!this.main?.item) return;
    const shown = this.mainElement.clientWidth * window.devicePixelRatio;
    this.main.viewport.zoomTo(this.main.width / shown);
    this.main.viewport.applyConstraints();
  }

  // Zoom by a factor around the middle.
  zoom(factor) {
    if (!this.main?.item) return;
    this.main.viewport.zoomBy(factor);
    this.main.viewport.applyConstraints();
  }

  // Move the picture by shares of the pane.
  pan(x, y) {
    if (!this.main?.item) return;
    const seen = this.main.viewport.getBounds();
    this.main.viewport.panBy(new this.main.Library.Point(x * seen.width, y * seen.height));
    this.main.viewport.applyConstraints();
  }

  #panByKey(event) {
    const ways = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
    const way = ways[event.code];
    if (!way || !event.shiftKey || this.editor) return;
    event.preventDefault();
    event.stopPropagation();
    this.pan(...way);
  }

  // Zoom to a box, by default the strongest that counts; returns whether there was one.
  toDefect(index = this.layer?.strongest() ?? -1) {
    const box = this.layer?.boxes[index]?.box;
    if (!box || !this.main.item) return false;
    const width = this.main.width;
    const side = Math.max(box[2] - box[0], box[3] - box[1], width / 20) * 3;
    const [x, y] = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
    const { Rect } = this.main.Library;
    this.main.viewport.fitBounds(
      new Rect((x - side / 2) / width, (y - side / 2) / width, side / width, side / width)
    );
    return true;
  }

  // Mark one box, -1 for none.
  highlight(index) {
    this.layer?.highlight(index);
  }

  // Draw the boxes struck through: a person said that they are false calls.
  strike(on) {
    this.state.strike = on;
    this.layer?.strike(on);
  }

  // Brightness and contrast of what is seen, 1 is as stored; never of the file.
  adjust({ brightness = this.view.brightness, contrast = this.view.contrast } = {}) {
    this.view = { brightness, contrast };
    const plain = brightness === 1 && contrast === 1;
    const filter = plain ? "" : `brightness(${Number(brightness)}) contrast(${Number(contrast)})`;
    for (const canvas of this.element.querySelectorAll(".viewer-canvas canvas")) canvas.style.filter = filter;
  }

  // Load a picture into the browser, so that it paints at once when it is shown.
  async preload(url) {
    if (!url) return;
    let image = this.#kept.get(url);
    this.#kept.delete(url);
    if (!image) {
      image = new Image();
      image.src = url;
    }
    this.#kept.set(url, image);
    while (this.#kept.size > KEPT) this.#kept.delete(this.#kept.keys().next().value);
    await image.decode().catch(() => this.#kept.delete(url)); // showing it says why
  }

  // Correct boxes: draw, move, resize, delete, change the class. classes: those that may be chosen.
  async edit({ classes = [], boxes = null } = {}) {
    await this.#ready;
    if (this.editor || !this.main.item) return;
    const { BoxEditor } = await import("/static/js/box_editor.js");
    if (this.editor || !this.main.item) return;
    const start = boxes ?? this.#corrected ?? this.part.boxes ?? [];
    const known = [...new Set([...classes, ...start.map((box) => box.class)])];
    const size = { width: this.part.width, height: this.part.height };
    this.layer.show(false);
    this.main.osd.setMouseNavEnabled(false);
    this.editor = new BoxEditor(this.mainElement, {
      boxes: start, classes: known, size, names: this.names,
      place: () => this.main.place(), zoom: (factor) => this.zoom(factor), pan: (x, y) => this.pan(x, y),
    });
    this.#redraw();
  }

  // Corrected boxes [{class, box}] in pixels of the picture; null when nothing was corrected. They stay after
  // endEdit(), until the next part is shown.
  boxes() {
    return this.editor?.corrected() ?? this.#corrected;
  }

  // Leave correcting; what was corrected is shown, as drawn by a person.
  endEdit() {
    if (!this.editor) return;
    this.#corrected = this.boxes();
    if (this.#corrected) this.layer.set(this.#corrected.map((box) => ({ ...box, human: true })));
    this.editor.close();
    this.editor = null;
    this.main.osd.setMouseNavEnabled(true);
    this.layer.show(this.state.boxes);
    this.#redraw();
  }
}
