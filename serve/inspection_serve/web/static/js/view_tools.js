// What the buttons and keys of the picture do: layers, zoom, light, heat map. Nothing of it is kept or saved.
import { _, language } from "/static/js/text.js";

const STEP = 0.2;
const LEAST = 0.4;
const MOST = 2.4;

const byAction = (name) => document.querySelector(`[data-action="${name}"]`);
const percent = (value) => value.toLocaleString(language, { style: "percent" });
const within = (value) => Math.round(Math.min(Math.max(value, LEAST), MOST) * 10) / 10;

// Show a switch as on or off.
export function pressed(name, on) {
  byAction(name)?.setAttribute("aria-pressed", String(on));
}

// Actions by name, as review_keys.js lists them, and those that have a button alone.
export function viewActions(viewer) {
  const layer = (name) => () => pressed(name, viewer.toggle(name));
  const tell = () => {
    const { brightness, contrast } = viewer.view;
    const changed = brightness !== 1 || contrast !== 1;
    byAction("adjust").textContent = changed ? _("Adjusted") : _("Adjust");
    document.getElementById("view-state").textContent = _("Brightness {brightness}, contrast {contrast}, heat map {heat}", {
      brightness: percent(brightness), contrast: percent(contrast), heat: percent(viewer.heatOpacity),
    });
  };
  const light = (name, by) => () => {
    viewer.adjust(by ? { [name]: within(viewer.view[name] + by) } : { brightness: 1, contrast: 1 });
    tell();
  };
  const heat = (by) => () => {
    viewer.setHeatOpacity(Math.round((viewer.heatOpacity + by) * 10) / 10);
    tell();
  };
  return {
    boxes: layer("boxes"), heat: layer("heat"), golden: layer("golden"),
    blink: () => viewer.blink(),
    defect: () => viewer.toDefect(), fit: () => viewer.fit(), one: () => viewer.oneToOne(),
    closer: () => viewer.zoom(1.4), farther: () => viewer.zoom(1 / 1.4),
    keep: () => pressed("keep", (viewer.keepZoom = !viewer.keepZoom)),
    adjust: () => {
      const panel = document.getElementById("adjusting");
      panel.hidden = !panel.hidden;
      byAction("adjust").setAttribute("aria-expanded", String(!panel.hidden));
      tell();
    },
    darker: light("brightness", -STEP), brighter: light("brightness", STEP),
    flatter: light("contrast", -STEP), harder: light("contrast", STEP), plain: light("", 0),
    weaker: heat(-STEP), stronger: heat(STEP),
  };
}
