// The line's state in the header of every page, from one stream of events; other modules listen here too.
import { _ } from "/static/js/text.js";
import { get } from "/static/js/api.js";
import { hear, soundButton } from "/static/js/sounds.js";

const LOST = 2500; // milliseconds without a word from the server
const RETRY = 1000;
const detail = document.querySelector("[data-detail]");
const cards = document.querySelector("[data-part=card]") !== null;
const listeners = [];
let source = null;
let heard = performance.now();
let lost = null;
let storeLost = false;
let latest = null;
let signedOut = false;

export const current = () => latest;
export const isLost = () => lost === true || signedOut;

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
    setStoreLost(Boolean(latest.store));
    show(latest);
    hear(latest);
    for (const listener of listeners) listener(latest);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) ask();
  });
}

// The stream was refused and does not say why: who signed out is told so, anything else is tried again.
async function ask() {
  try {
    await get("/api/v1/me");
  } catch (problem) {
    if (problem.status === 401) return; // told by the event below
    if (problem.code === "store_failed") {
      heard = performance.now(); // the server answers, but cannot tell who we are
      setLost(false);
      setStoreLost(true);
    }
  }
  setTimeout(reopen, RETRY);
}

document.addEventListener("signed-out", () => {
  if (signedOut) return;
  signedOut = true;
  source?.close();
  const server = document.getElementById("strip-server");
  if (server) server.textContent = "■ " + _("Signed out");
  const link = document.createElement("a");
  link.href = `/sign-in?next=${encodeURIComponent(place())}`;
  link.className = "button";
  link.id = "sign-in-again";
  link.textContent = _("Sign in");
  banner("■ " + _("You are signed out. What you see is old, and nothing more is saved."), link);
  for (const listener of listeners) listener(null);
});

const place = () => location.pathname + location.search + location.hash;

// The page may have changed its address since it was loaded.
for (const form of document.querySelectorAll("form.languages"))
  form.addEventListener("submit", () => (form.elements.next.value = place()));

function reopen() {
  if (source?.readyState === EventSource.CLOSED && wanted()) open();
}

// A page nobody sees keeps no connection, unless it is there to be heard: browsers allow six to a host.
function wanted() {
  if (signedOut) return false;
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
  if (now === lost || signedOut) return;
  lost = now;
  const server = document.getElementById("strip-server");
  if (server) server.textContent = now ? "■ " + _("Server lost") : "● " + _("Server");
  tell();
  if (now) for (const listener of listeners) listener(null);
}

function setStoreLost(now) {
  if (now === storeLost || signedOut) return;
  storeLost = now;
  tell();
}

function tell() {
  if (lost) banner("■ " + _("Connection lost. What you see is old; it is tried again by itself."));
  else banner(storeLost ? "■ " + _("The store cannot be read. What you see is old, and nothing is saved.") : "");
}

// Say something above every page until it is over: no words, no banner.
function banner(words, ...more) {
  let shown = document.getElementById("connection");
  if (!shown) {
    shown = document.createElement("p");
    shown.id = "connection";
    shown.className = "connection";
    shown.setAttribute("role", "alert");
    document.querySelector("header.top").after(shown);
  }
  shown.hidden = !words;
  shown.replaceChildren(words, ...more);
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
