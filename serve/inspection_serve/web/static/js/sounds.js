// Tones for NG, repeated NG and faults. Muting is not acknowledging. Kept for each browser.
import { _ } from "/static/js/text.js";

// hertz, start and length in seconds
const TONES = {
  ng: [[660, 0, 0.18]],
  repeated: [[660, 0, 0.12], [880, 0.16, 0.12], [660, 0.32, 0.12], [880, 0.48, 0.12]],
  fault: [[220, 0, 0.35], [185, 0.4, 0.5]],
};
const heard = new Map();
let context = null;
let button = null;

export const enabled = () => localStorage.getItem("sounds") === "on";

// Play `ng`, `repeated` or `fault`; returns whether it could be heard.
export function play(kind) {
  if (!enabled() || context?.state !== "running") return false;
  for (const [hertz, start, length] of TONES[kind]) {
    const tone = context.createOscillator();
    const level = context.createGain();
    const at = context.currentTime + start;
    tone.frequency.value = hertz;
    tone.type = kind === "fault" ? "square" : "sine";
    level.gain.setValueAtTime(0.25, at);
    level.gain.exponentialRampToValueAtTime(0.001, at + length);
    tone.connect(level).connect(context.destination);
    tone.start(at);
    tone.stop(at + length);
  }
  document.body.dataset.tone = kind;
  return true;
}

export async function enable() {
  localStorage.setItem("sounds", "on");
  context ??= new AudioContext();
  await context.resume();
  return context.state === "running";
}

function mute() {
  localStorage.setItem("sounds", "off");
  context?.suspend();
}

const isOn = () => enabled() && context?.state === "running";

// Draw the button of the header as it stands now.
export function show() {
  if (!button) return;
  button.setAttribute("aria-pressed", String(isOn()));
  button.textContent = isOn() ? _("Sound") : _("Enable sound");
}

// Turn the sound off, or on again; returns in words what it is now.
export async function toggle() {
  if (isOn()) mute();
  else if (await enable()) play("ng");
  show();
  return isOn() ? _("The sound is on.") : _("The sound is off.");
}

// What an event of the line sounds like: the worst news since the event before.
export function hear(event) {
  let kind = null;
  for (const now of event.stations) {
    const before = heard.get(now.name);
    heard.set(now.name, { code: now.code, record: now.record, repeated: now.repeated });
    if (!before) continue;
    if (now.kind === "fault" && before.code !== now.code) kind = "fault";
    else if (now.repeated && now.repeated !== before.repeated) kind = kind === "fault" ? kind : "repeated";
    else if (now.record !== before.record && now.decision === "FAIL") kind ??= "ng";
  }
  if (kind) play(kind);
}

export function soundButton() {
  button = document.createElement("button");
  button.type = "button";
  button.id = "sound";
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    toggle();
  });
  // a browser lets a page sound only after a touch or a key; the first one on this page does
  const first = async (event) => {
    if (button.contains(event.target)) return;
    if (enabled() && context === null) await enable();
    show();
  };
  for (const kind of ["pointerup", "keydown"]) document.addEventListener(kind, first, { once: true });
  show();
  return button;
}
