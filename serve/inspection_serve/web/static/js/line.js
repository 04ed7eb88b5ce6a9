// The line's pages: pieces of HTML and the picture are replaced as the stream tells; nothing moves under a hand.
import { _ } from "/static/js/text.js";
import { Problem, post } from "/static/js/api.js";
import { isLost, listen } from "/static/js/status.js";

const SVG = "http://www.w3.org/2000/svg";
const detail = document.querySelector("[data-detail]");
const name = detail?.dataset.station;
const ages = new Map(); // station to {age, frame, at}
let frozen = false;
let pictureAt = null;
let loading = false;

listen((event) => {
  if (event) for (const station of event.stations) show(station);
  if (event && document.querySelector("[data-part=card]") === null && !detail && event.stations.length) location.reload();
});
setInterval(tick, 250);

function show(station) {
  ages.set(station.name, { age: station.age, frame: station.frame_age, at: performance.now(), station });
  for (const section of document.querySelectorAll(`[data-station="${CSS.escape(station.name)}"]`)) {
    for (const [part, html] of Object.entries(station.html)) {
      const place = section.querySelector(`[data-part="${part}"]`);
      if (place && place.dataset.html !== html) replace(place, html);
    }
  }
  if (station.name !== name) return;
  showControl(station);
  if (station.picture_at && station.picture_at !== pictureAt && !frozen) loadPicture(station.picture_at);
  showPictureState(station);
}

function replace(place, html) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  place.dataset.html = html;
  place.innerHTML = html;
  if (focused) document.getElementById(focused)?.focus();
}

function ago(seconds) {
  if (seconds < 90) return _("{n} s ago", { n: Math.floor(seconds) });
  if (seconds < 5400) return _("{n} min ago", { n: Math.floor(seconds / 60) });
  return _("{n} h ago", { n: Math.floor(seconds / 3600) });
}

function tick() {
  for (const [station, known] of ages) {
    const since = (performance.now() - known.at) / 1000;
    for (const section of document.querySelectorAll(`[data-station="${CSS.escape(station)}"]`)) {
      const news = section.querySelector("[data-age]");
      const old = known.age === null || known.age + since > 2 || isLost();
      if (news) {
        const words = known.age === null ? _("never") : ago(known.age + since);
        news.textContent = (old ? "■ " : "") + _("Last news of the line: {ago}", { ago: words });
        news.classList.toggle("old", old);
      }
      const frame = section.querySelector("[data-frame-age]");
      if (frame) {
        frame.textContent =
          known.frame === null ? _("No part yet") : _("Last part: {ago}", { ago: ago(known.frame + since) });
        frame.classList.toggle("old", old);
      }
    }
  }
}

// ------------------------------------------------------------------ the picture

async function loadPicture(at) {
  if (loading) return;
  loading = true;
  try {
    const answer = await fetch(`/api/v1/line/${encodeURIComponent(name)}/picture`, { cache: "no-store" });
    if (!answer.ok) return;
    const bytes = new Uint8Array(await answer.arrayBuffer());
    if (frozen) return;
    const image = document.getElementById("live");
    const before = image.src;
    image.src = URL.createObjectURL(new Blob([bytes], { type: "image/jpeg" }));
    await image.decode();
    if (before.startsWith("blob:")) URL.revokeObjectURL(before);
    image.hidden = false;
    document.getElementById("no-picture").hidden = true;
    pictureAt = at;
    showBoxes(about(bytes));
  } catch {
    // the next event tries again; the age beside the picture tells how old it is
  } finally {
    loading = false;
  }
}

// The JSON in the JPEG's comment segment: what was found in exactly this picture.
function about(bytes) {
  const view = new DataView(bytes.buffer);
  for (let at = 2; at + 4 <= bytes.length && view.getUint8(at) === 0xff; ) {
    const length = view.getUint16(at + 2);
    if (view.getUint8(at + 1) === 0xfe) return JSON.parse(new TextDecoder().decode(bytes.subarray(at + 4, at + 2 + length)));
    at += 2 + length;
  }
  return null;
}

const named = (box) => box.class + " " + box.score.toFixed(2);

function showBoxes(found) {
  const layer = document.getElementById("boxes");
  layer.replaceChildren();
  document.getElementById("picture-words").textContent = found
    ? "#" + found.record + " · " + (found.boxes.map(named).join(", ") || _("nothing found"))
    : "";
  if (!found) return;
  layer.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  for (const { box } of found.boxes) {
    const shape = document.createElementNS(SVG, "rect");
    const [x1, y1, x2, y2] = box;
    for (const [key, value] of Object.entries({ x: x1, y: y1, width: x2 - x1, height: y2 - y1 })) shape.setAttribute(key, value);
    layer.append(shape);
  }
}

function showPictureState(station) {
  const words = document.getElementById("picture-state");
  const camera = station.code.startsWith("CAMERA") || station.code.startsWith("FRAME");
  const fault = station.stale ? _("Old picture: the line says nothing") : camera ? _("Camera offline") : "";
  words.hidden = !fault && !frozen;
  words.textContent = fault ? "■ " + fault : frozen ? "◆ " + _("Frozen picture") : "";
  detail.classList.toggle("stale", Boolean(fault));
}

document.getElementById("freeze")?.addEventListener("click", (event) => {
  frozen = !frozen;
  event.currentTarget.setAttribute("aria-pressed", String(frozen));
  const known = ages.get(name);
  if (known) show({ ...known.station, age: known.age, html: {} });
});

// ------------------------------------------------------------------ alarms

const dialog = document.getElementById("acknowledge");
let acknowledged = null;

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-alarm]");
  if (!button || !dialog) return;
  acknowledged = button.dataset.alarm;
  document.getElementById("acknowledge-title").textContent = button.dataset.title;
  dialog.querySelector("[data-outcome]").textContent = "";
  dialog.querySelector("form").reset();
  dialog.showModal();
});
dialog?.querySelector("[data-close]").addEventListener("click", () => dialog.close());
dialog?.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const body = { note: form.note.value, minutes: Number(form.minutes.value) };
  try {
    await post(`/api/v1/line/${encodeURIComponent(name)}/alarms/${encodeURIComponent(acknowledged)}`, body);
    dialog.close();
  } catch (error) {
    dialog.querySelector("[data-outcome]").textContent = `■ ${problem(error)}`;
  }
});

document.getElementById("rules")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const body = Object.fromEntries([...new FormData(form)].map(([key, value]) => [key, Number(value)]));
  const outcome = form.querySelector("[data-outcome]");
  try {
    await post("/api/v1/line-rules", body);
    outcome.textContent = "✓ " + _("Rules saved");
  } catch (error) {
    outcome.textContent = `■ ${problem(error)}`;
  }
});

// ------------------------------------------------------------------ control and recipe

function showControl(station) {
  const time = station.control ? new Date(station.control.until).toLocaleTimeString(document.documentElement.lang) : "";
  document.getElementById("holder").textContent = station.mine
    ? _("You have control until {time}.", { time })
    : station.control
      ? _("{who} has control until {time}.", { who: station.control.who, time })
      : _("Nobody has control: the pages only read.");
  const toggle = (id, shown) => {
    const element = document.getElementById(id);
    if (element) element.hidden = !shown;
  };
  toggle("take", !station.control);
  toggle("force", station.control && !station.mine);
  toggle("back", station.mine);
  toggle("change", station.mine);
}

async function act(path, body, done) {
  const outcome = document.getElementById("control-outcome");
  try {
    await post(`/api/v1/line/${encodeURIComponent(name)}/${path}`, body);
    outcome.textContent = done ? `✓ ${done}` : "";
  } catch (error) {
    outcome.textContent = `■ ${problem(error)}`;
  }
}

document.getElementById("take")?.addEventListener("click", () => act("control", { force: false }, ""));
document.getElementById("force")?.addEventListener("click", () => act("control", { force: true }, ""));
document.getElementById("back")?.addEventListener("click", () => act("control/back", {}, ""));
document.getElementById("change")?.addEventListener("submit", (event) => {
  event.preventDefault();
  act("recipe", { number: Number(event.currentTarget.number.value) }, _("Asked; the line answers between parts."));
});

function problem(error) {
  if (!(error instanceof Problem)) throw error;
  const texts = {
    held: _("Somebody else has control."),
    no_control: _("You do not have control any more."),
    role: _("Your role may not do this."),
    no_alarm: _("This alarm is not there any more."),
  };
  const why = texts[error.code] ?? (error.status === 0 ? _("the server does not answer") : error.message);
  return _("NOT SAVED") + ": " + why;
}
