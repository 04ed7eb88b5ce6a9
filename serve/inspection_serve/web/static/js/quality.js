// The quality page: draws the charts of the numbers in the page, and loads the places of defects.
import { _, language } from "/static/js/text.js";
import { call, get, Problem } from "/static/js/api.js";
import { controlChart, timeChart } from "/static/js/charts.js";

const charts = JSON.parse(document.getElementById("charts").textContent);
const places = document.getElementById("places");
const SVG = "http://www.w3.org/2000/svg";

function open(point) {
  const address = new URL(places.dataset.results, location.href);
  address.searchParams.set("since", `${point.start}:00+00:00`);
  address.searchParams.set("until", `${point.end}:00+00:00`);
  location.assign(address);
}

timeChart(document.getElementById("time-chart"), charts.points, (i) => open(charts.points[i]));
const control = document.getElementById("control-chart");
if (control) controlChart(control, charts.control, (i) => open(charts.control.points[i]));

const print = document.getElementById("print");
print.hidden = false;
print.addEventListener("click", () => window.print());

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function drawPlaces(found) {
  const cell = 30;
  const height = found.width ? (found.columns * cell * found.height) / found.width : found.rows * cell;
  const [wide, high] = [cell, height / found.rows];
  const box = places.querySelector(".places");
  const svg = make("svg", { viewBox: `0 0 ${found.columns * cell} ${height}`, role: "group", "aria-labelledby": "h-places" }, box);
  if (found.background !== null) {
    make("image", { href: `/pictures/${found.background}/0`, width: found.columns * cell, height, preserveAspectRatio: "none" }, svg);
  }
  const most = Math.max(...found.cells.map((one) => one[2]));
  const rows = places.querySelector("tbody");
  for (const [column, row, number] of found.cells) {
    const address = `${places.dataset.cell}&column=${column + 1}&row=${row + 1}`;
    const share = 0.15 + (0.6 * number) / most;
    const link = make("a", { href: address, "aria-label": _("{boxes} boxes: column {column}, row {row}, show the parts", { boxes: number, column: column + 1, row: row + 1 }) }, svg);
    make("rect", { x: column * wide, y: row * high, width: wide, height: high, "fill-opacity": share.toFixed(3) }, link);
    make("text", { x: (column + 0.5) * wide, y: (row + 0.5) * high + 4 }, link).textContent = number;
    const line = rows.insertRow();
    for (const value of [column + 1, row + 1, number]) line.insertCell().textContent = value.toLocaleString(language);
    line.lastElementChild.className = "number";
    const parts = document.createElement("a");
    parts.href = address;
    parts.textContent = _("Show the parts");
    line.insertCell().append(parts);
  }
  places.querySelector("details").hidden = false;
}

async function loadPlaces() {
  const said = places.querySelector(".said");
  said.textContent = _("Reading the places …");
  try {
    const found = await get(`/api/v1/quality/positions?${places.dataset.query}`, { timeout: 30000 });
    const numbers = { parts: found.parts.toLocaleString(language), boxes: found.boxes.toLocaleString(language), most: found.most.toLocaleString(language) };
    said.textContent = found.boxes
      ? _("{boxes} boxes of {parts} parts, of the latest {most} flagged ones at most; the picture behind is of one passed part.", numbers)
      : _("No boxes in this time.");
    if (found.boxes) drawPlaces(found);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    said.textContent = "■ " + _("The places could not be read: {why}", { why: problem.message });
  }
}
loadPlaces();

const shifts = document.getElementById("shifts");
const rowsOf = () => [...shifts.querySelectorAll("ol > li")];
const valueOf = (row, name) => row.querySelector(`[name=${name}]`).value.trim();

function showEnds() {
  const rows = rowsOf();
  const starts = rows.map((row) => valueOf(row, "start")).filter(Boolean).sort();
  for (const row of rows) {
    const start = valueOf(row, "start");
    const end = starts.find((one) => one > start) ?? starts[0];
    const said = row.querySelector("output");
    if (!start) said.textContent = "";
    else if (end > start) said.textContent = _("until {end}", { end });
    else said.textContent = _("until {end} on the next day", { end });
    row.querySelector(".remove").disabled = rows.length === 1;
  }
  shifts.querySelector(".add").disabled = rows.length >= 8;
}

async function setShifts(event) {
  event.preventDefault();
  const said = shifts.querySelector(".said");
  const wanted = rowsOf().map((row) => ({ name: valueOf(row, "name"), start: valueOf(row, "start") }));
  try {
    await call("PUT", "/api/v1/quality/shifts", wanted);
    location.reload();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    said.textContent = "■ " + _("NOT SAVED: {why}", { why: problem.message });
  }
}

if (shifts) {
  shifts.addEventListener("input", showEnds);
  shifts.addEventListener("submit", setShifts);
  shifts.addEventListener("click", (event) => {
    if (event.target.closest(".remove")) {
      event.target.closest("li").remove();
      shifts.querySelector(".add").focus();
    } else if (event.target.closest(".add")) {
      const row = rowsOf().at(-1).cloneNode(true);
      for (const input of row.querySelectorAll("input")) input.value = "";
      shifts.querySelector("ol").append(row);
      row.querySelector("input").focus();
    } else return;
    showEnds();
  });
  showEnds();
}
