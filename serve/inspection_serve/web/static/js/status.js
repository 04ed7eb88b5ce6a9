// The line's state in the header of every page, from one stream of events; other modules listen here too.
import { _ } from "/static/js/text.js";
import { hear, soundButton } from "/static/js/sounds.js";

const LOST = 2500; // milliseconds without a word from the server
const RETRY = 1000;
const detail = document.querySelector("[data-detail]");
const cards = document.querySelector("[data-part=card]") !== null;
const listeners = [];
let source = null;
let heard = performance.now();
let lost = null;
let latest = null;

export const current = () => latest;
export const isLost = () => lost === true;

// Call `listener(event)` for every event of the line, and with null when the server is lost.
export function listen(listener) {
  listeners.push(listener);
  if (latest) listener(latest);
}

function address() {
  const query = new URLSearchParams();
  if (detail) query.set("station", detail.dataset.station);
  if (cards) query.set("cards", "true");
  return `/line/events?${query}`;
}

function open() {
  source?.close();
  source = new EventSource(address());
  source.addEventListener("line", (message) => {
    heard = performance.now();
    latest = JSON.parse(message.data);
    setLost(false);
    show(latest);
    hear(latest);
    for (const listener of listeners) listener(latest);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(reopen, RETRY);
  });
}

function reopen() {
  if (source?.readyState === EventSource.CLOSED && wanted()) open();
}

// A page nobody sees keeps no connection, unless it is there to be heard: browsers allow six to a host.
function wanted() {
  return !document.hidden || localStorage.getItem("sounds") === "on";
}

document.addEventListener("visibilitychange", () => {
  if (!wanted()) source?.close();
  else if (!source || source.readyState === EventSource.CLOSED) {
    heard = performance.now();
    open();
  }
});

function setLost(now) {
  if (now === lost) return;
  lost = now;
  const server = document.getElementById("strip-server");
  if (server) server.textContent = now ? "■ " + _("Server lost") : "● " + _("Server");
  let banner = document.getElementById("connection");
  if (!banner) {
    banner = document.createElement("p");
    banner.id = "connection";
    banner.className = "connection";
    banner.setAttribute("role", "alert");
    document.querySelector("header.top").after(banner);
  }
  banner.hidden = !now;
  banner.textContent = now
    ? "■ " + _("Connection lost. What you see is old; it is tried again by itself.")
    : "";
  if (now) for (const listener of listeners) listener(null);
}

function show(event) {
  const place = document.getElementById("strip-line");
  if (!place) return;
  if (detail) localStorage.setItem("station", detail.dataset.station);
  const chosen = localStorage.getItem("station");
  const station = event.stations.find((one) => one.name === chosen) ?? event.stations[0];
  const html = station ? station.html.strip : "";
  if (place.dataset.html !== html) {
    place.dataset.html = html;
    place.innerHTML = html;
  }
}

if (document.getElementById("line-strip")) {
  document.getElementById("line-strip").append(soundButton());
  open();
  setInterval(() => {
    if (wanted() && performance.now() - heard > LOST) setLost(true);
  }, 250);
}
