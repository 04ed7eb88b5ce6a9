// Charts of numbers over time with uPlot: a shape for each series, a click on a point opens its parts.
import { _ } from "/static/js/text.js";

const SERIES = [
  ["PASS", "● ", "OK", "#1f5fa8", [], "circle"],
  ["FAIL", "▲ ", "NG", "#b3261e", [], "triangle"],
  ["REVIEW", "◆ ", "Borderline", "#7a4a00", [8, 4], "diamond"],
  ["NOT_INSPECTED", "■ ", "Not inspected", "#4a3470", [2, 4], "square"],
];
const seconds = (slot) => Date.parse(`${slot}:00Z`) / 1000;
const offset = JSON.parse(document.getElementById("charts").textContent).offset;
// The station's clock, whatever the browser's zone is: its numbers are those of a UTC date.
const local = (at) => new Date((at + offset) * 1000);
const two = (number) => String(number).padStart(2, "0");
const said = (plot, at) => {
  if (at === null) return "";
  const date = local(at);
  return `${date.getUTCMonth() + 1}/${date.getUTCDate()} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
};

function mark(context, shape, x, y, size) {
  context.beginPath();
  if (shape === "circle") context.arc(x, y, size, 0, 2 * Math.PI);
  else if (shape === "square") context.rect(x - size, y - size, 2 * size, 2 * size);
  else if (shape === "triangle") {
    context.moveTo(x, y - size * 1.3);
    context.lineTo(x + size * 1.2, y + size);
    context.lineTo(x - size * 1.2, y + size);
  } else {
    context.moveTo(x, y - size * 1.3);
    context.lineTo(x + size * 1.3, y);
    context.lineTo(x, y + size * 1.3);
    context.lineTo(x - size * 1.3, y);
  }
  context.closePath();
  context.fill();
}

function marks(shape, chosen, size = 4) {
  return (plot, series) => {
    const context = plot.ctx;
    const values = plot.data[series];
    if (values.length > 200 && chosen === undefined) return false;
    context.save();
    context.fillStyle = plot.series[series].stroke(plot, series);
    for (let i = 0; i < values.length; i += 1) {
      if (values[i] === null || (chosen && !chosen(i))) continue;
      const x = plot.valToPos(plot.data[0][i], "x", true);
      mark(context, shape, x, plot.valToPos(values[i], plot.series[series].scale, true), size * devicePixelRatio);
    }
    context.restore();
    return false;
  };
}

function draw(element, options, data, open) {
  const height = () => Math.max(240, Math.min(360, innerHeight * 0.4));
  const plot = new uPlot({ width: element.clientWidth - 2, height: height(), tzDate: (at) => uPlot.tzDate(local(at), "Etc/UTC"), ...options }, data, element);
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth - 2, height: height() })).observe(element);
  let down = null;
  plot.over.addEventListener("pointerdown", (event) => {
    down = event.clientX;
  });
  plot.over.addEventListener("click", (event) => {
    const dragged = down !== null && Math.abs(event.clientX - down) > 4;
    if (!dragged && plot.cursor.idx !== null) open(plot.cursor.idx);
  });
  return plot;
}

const axis = { stroke: "#15191d", grid: { stroke: "#d7dade" }, ticks: { stroke: "#8b9299" } };
const clock = {
  ...axis,
  values: (plot, ticks) => {
    const days = ticks.length > 1 && ticks[1] - ticks[0] >= 86400;
    return ticks.map((tick) => {
      const [day, time] = said(plot, tick).split(" ");
      return days ? day : `${time}\n${day}`;
    });
  },
};

export function timeChart(element, points, open) {
  if (!points.some((point) => SERIES.some(([name]) => point[name]))) return;
  const data = [points.map((p) => seconds(p.start)), ...SERIES.map(([name]) => points.map((p) => p[name]))];
  const series = SERIES.map(([name, shape, text, stroke, dash, form]) => ({
    label: shape + _(text),
    stroke,
    dash,
    width: 2,
    scale: name === "PASS" ? "passed" : "other",
    points: { show: marks(form) },
  }));
  draw(
    element,
    {
      series: [{ label: _("Start"), value: said }, ...series],
      scales: { passed: { range: (plot, low, high) => [0, high * 1.05 || 1] }, other: { range: (plot, low, high) => [0, high * 1.05 || 1] } },
      axes: [
        clock,
        { ...axis, scale: "passed", label: "● " + _("OK"), size: 70 },
        { ...axis, scale: "other", label: ["▲ " + _("NG"), "◆ " + _("Borderline"), "■ " + _("Not inspected")].join(" "), side: 1, grid: { show: false } },
      ],
    },
    data,
    open,
  );
}

const MARGIN = 130;

// What each line is, beside its right end, where no point lies: so that the chart can also be read on paper.
function nameLines(plot, names) {
  const context = plot.ctx;
  const line = 14 * devicePixelRatio;
  context.save();
  context.font = `${12 * devicePixelRatio}px sans-serif`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  let lowest = Infinity; // from the bottom up; names that lie close are moved apart
  for (const [series, name] of names) {
    const value = plot.data[series].at(-1);
    const y = Math.min(plot.valToPos(value, "y", true), lowest - line);
    lowest = y;
    context.fillStyle = plot.series[series].stroke(plot, series);
    context.fillText(`${name} ${value.toFixed(2)} %`, plot.bbox.left + plot.bbox.width + 6 * devicePixelRatio, y);
  }
  context.restore();
}

export function controlChart(element, control, open) {
  const names = [[4, _("Lower limit")], [2, _("Centre")], [3, _("Upper limit")]];
  const points = control.points;
  const column = (name) => points.map((point) => point[name] * 100);
  const broken = (rule) => (i) => points[i].rules.includes(rule);
  const shown = (rule) => points.map((point) => (point.rules.includes(rule) ? point.share * 100 : null));
  const percent = (plot, value) => (value === null ? "–" : `${value.toFixed(2)} %`);
  const none = { points: { show: false }, value: percent };
  draw(
    element,
    {
      series: [
        { label: _("Start"), value: said },
        { label: "● " + _("Share"), stroke: "#15191d", width: 1.5, value: percent, points: { show: marks("circle", (i) => !points[i].rules.length) } },
        { label: _("Centre"), stroke: "#41484f", width: 1, ...none },
        { label: _("Upper limit"), stroke: "#b3261e", dash: [8, 4], width: 1.5, ...none },
        { label: _("Lower limit"), stroke: "#b3261e", dash: [8, 4], width: 1.5, ...none },
        { label: "■ " + _("rule 4"), stroke: "#7a4a00", width: 0, value: percent, points: { show: marks("square", broken(4), 5) } },
        { label: "▲ " + _("rule 1"), stroke: "#b3261e", width: 0, value: percent, points: { show: marks("triangle", broken(1)) } },
      ],
      padding: [null, MARGIN, null, null],
      hooks: { draw: [(plot) => nameLines(plot, names)] },
      scales: { y: { range: (plot, low, high) => [0, Math.max(high * 1.1, 0.01)] } },
      axes: [clock, { ...axis, values: (plot, ticks) => ticks.map((tick) => `${Number(tick.toFixed(3))} %`), size: 70 }],
    },
    [
      points.map((point) => seconds(point.start)),
      column("share"),
      points.map(() => control.centre * 100),
      column("upper"),
      column("lower"),
      shown(4),
      shown(1),
    ],
    open,
  );
}
