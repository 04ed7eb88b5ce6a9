// What the review page shows: list, facts, buttons, strip, banner, dialogs. It decides nothing.
import { _, language } from "/static/js/text.js";

export const SHAPES = { PASS: "●", FAIL: "▲", REVIEW: "◆", NOT_INSPECTED: "■" };
const byId = (id) => document.getElementById(id);
const names = JSON.parse(byId("review").dataset.names);
export const className = (code) => names[code] ?? code;
export const classNames = names;

export function decisionText(decision) {
  const texts = { PASS: _("OK"), FAIL: _("NG"), REVIEW: _("Borderline"), NOT_INSPECTED: _("Not inspected") };
  return texts[decision] ?? decision;
}

export function verdictText(verdict, decision) {
  const texts = {
    real_defect: _("NG"), false_call: decision === "FAIL" ? _("OK (false call)") : _("OK"), missed: _("Missed defect"),
    borderline: _("On the limit"), aborted: _("Cannot be judged"), unsure: _("Not sure"), not_reviewed: _("Taken back"),
  };
  return texts[verdict] ?? verdict;
}

export const number = (value, digits = 2) =>
  value === null ? "–" : value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const many = (value) => (value > 10000 ? _("over {n}", { n: (10000).toLocaleString(language) }) : value.toLocaleString(language));
const time = (at) => new Date(at).toLocaleString(language, { dateStyle: "short", timeStyle: "medium" });

export function made(tag, text, attributes = {}) {
  const found = document.createElement(tag);
  if (text !== undefined) found.textContent = text;
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  return found;
}

function rowOf(item, onOpen) {
  const button = made("button", undefined, { "data-record": item.record });
  button.append(
    made("span", `${SHAPES[item.decision]} ${decisionText(item.decision)}`, { class: `decision ${item.decision}` }),
    made("span", String(item.record), { class: "record" }),
    made("span", item.defect_class ? className(item.defect_class) : "", { class: "quiet" }),
  );
  button.addEventListener("click", () => onOpen(item.record));
  const row = made("li");
  row.append(button);
  return row;
}

// The list stays as it was loaded; judged parts keep their place with a ✓. Only what differs is touched.
export function showItems(items, current, done, onOpen) {
  const list = byId("items");
  const kept = new Map([...list.querySelectorAll("button")].map((button) => [button.dataset.record, button.parentElement]));
  const rows = items.map((item) => kept.get(String(item.record)) ?? rowOf(item, onOpen));
  const same = list.children.length === rows.length && rows.every((row, index) => list.children[index] === row);
  if (!same) list.replaceChildren(...rows);
  items.forEach(({ record }, index) => {
    const [button] = rows[index].children;
    const text = `${done.has(record) ? "✓ " : ""}${record}`;
    const place = button.querySelector(".record");
    if (place.textContent !== text) place.textContent = text;
    if ((record === current) === button.hasAttribute("aria-current")) return undefined;
    if (record !== current) return button.removeAttribute("aria-current");
    button.setAttribute("aria-current", "true");
    return button.scrollIntoView({ block: "nearest" });
  });
}

export function showLeft(left, came) {
  byId("left").textContent = many(left);
  byId("came").hidden = came === 0;
  byId("came").textContent = _("+{n} new", { n: many(came) });
}

export function showStrip(strip, current) {
  const cells = strip.map((part) => {
    const cell = made("li", undefined, part.record === current ? { "aria-current": "true" } : {});
    cell.append(
      made("span", `${SHAPES[part.decision]} ${decisionText(part.decision)}`, { class: `decision ${part.decision}` }),
      made("span", part.defect_class ? className(part.defect_class) : part.serial),
      made("span", part.seconds === null ? "–" : _("{n} s", { n: number(part.seconds) }), { class: "quiet" }),
    );
    return cell;
  });
  byId("strip").replaceChildren(...cells);
}

export function showPart(part) {
  byId("part-title").textContent = _("Part {record}", { record: part.record });
  const machine = byId("machine");
  machine.className = `machine decision ${part.decision}`;
  machine.textContent = `${SHAPES[part.decision]} ${decisionText(part.decision)}`;
  const facts = [
    [_("Class"), part.defect_class ? className(part.defect_class) : "–"],
    [_("Score"), part.t1 === null ? number(part.score) : _("{score} (T1 {t1}, T2 {t2})", { score: number(part.score), t1: number(part.t1), t2: number(part.t2) })],
    [_("Reason"), part.reason_text],
    [_("Serial"), part.serial || "–"],
    [_("Time"), time(part.triggered_at)],
    [_("Station"), part.station],
    [_("Model"), part.release ?? "–"],
  ];
  byId("facts").replaceChildren(...facts.flatMap(([title, value]) => [made("dt", title), made("dd", value)]));
  byId("blind").hidden = !part.blind;
  byId("sampled").hidden = part.why !== "sample";
  const said = part.said.map((word) => made("p", `${word.who}: ${verdictText(word.verdict, part.decision)} · ${time(word.at)}${word.comment ? ` – ${word.comment}` : ""}`, { class: "quiet" }));
  byId("said").replaceChildren(...said);
  const passed = part.decision === "PASS";
  const failed = part.decision === "FAIL";
  byId("ng").firstElementChild.textContent = `▲ ${failed ? _("Confirm NG") : passed ? _("Missed defect") : _("NG")}`;
  byId("ok").firstElementChild.textContent = `● ${failed ? _("Overrule: OK") : passed ? _("Confirm OK") : _("OK")}`;
  showWords(part.allowed, part.pictures.length > 0 || part.image_state === "pending");
}

// allowed: verdicts that can be given of this part; none: it is not this person's turn. seen: there is a picture.
export function showWords(allowed, seen) {
  for (const verdict of ["borderline", "aborted"]) byId(verdict).hidden = allowed.length > 0 && !allowed.includes(verdict);
  byId("gone").hidden = seen || !allowed.includes("aborted");
}

export function showNothing() {
  byId("part-title").textContent = _("Nothing waits");
  byId("machine").className = "machine";
  byId("machine").textContent = _("New parts are told above the list.");
  for (const id of ["facts", "said"]) byId(id).replaceChildren();
  for (const id of ["blind", "sampled", "gone"]) byId(id).hidden = true;
}

// allowed: verdicts that may be given now.
export function enable(allowed, canUndo) {
  const has = (...wanted) => wanted.some((verdict) => allowed.includes(verdict));
  byId("ng").disabled = !has("real_defect", "missed");
  byId("ok").disabled = !has("false_call");
  for (const id of ["borderline", "unsure", "aborted"]) byId(id).disabled = !has(id);
  byId("add-note").disabled = allowed.length === 0;
  byId("undo").disabled = !canUndo;
}

export function showUndo(own) {
  byId("undo").querySelector("span").textContent = own ? _("Undo (part {record})", { record: own.record }) : _("Undo");
}

export function showOutcome(text) {
  byId("outcome").textContent = text;
}

// buttons: [[text, call], …]
export function showBanner(text, buttons = []) {
  const banner = byId("banner");
  banner.hidden = !text;
  const made_ = buttons.map(([name, call]) => {
    const button = made("button", name);
    button.addEventListener("click", call);
    return button;
  });
  banner.replaceChildren(made("p", text), ...made_);
}

// Let the person choose one of at most nine; resolves null when they went back.
export function choose(title, options, other = false) {
  const dialog = byId("choose");
  byId("choose-title").textContent = title;
  const form = byId("other-class");
  form.hidden = !other;
  form.reset();
  return new Promise((resolve) => {
    let answer = null;
    const take = (value) => {
      answer = value;
      dialog.close();
    };
    const buttons = options.map(([value, name], index) => {
      const button = made("button", undefined, { "data-choice": String(index + 1) });
      if (index < 9) button.append(made("kbd", String(index + 1)));
      button.append(made("span", name));
      button.addEventListener("click", () => take(value));
      return button;
    });
    byId("choices").replaceChildren(...buttons);
    byId("choose-close").onclick = () => dialog.close();
    form.onsubmit = (event) => {
      event.preventDefault();
      const name = new FormData(form).get("name").trim();
      if (name) take(name);
    };
    dialog.onclose = () => resolve(answer);
    dialog.showModal();
  });
}

export function pressChoice(place) {
  byId("choices").querySelector(`[data-choice="${place}"]`)?.click();
}

export const openDialog = () => document.querySelector("dialog[open]");

// Why a verdict was refused, in words.
export function refusal(problem) {
  const texts = {
    not_signed_in: _("you are not signed in any more"), engineer: _("this part waits for the engineer"),
    second: _("this part waits for a second person"), reason: _("the reason is not in the list any more"),
    at_station: _("verdicts are given at the station"),
    unseen: _("the stored picture is not the one you saw"), gone: _("its picture is gone"), not_yours: _("it is not among your last decisions"),
    boxes: _("a box is not in the picture"), csrf: _("this page is too old; load it again"),
  };
  return texts[problem.code] ?? problem.message;
}

// heard: when the server answered last, as performance.now() tells.
export function showLost(heard) {
  if (document.getElementById("lost")) return;
  const text = document.createElement("p");
  text.id = "lost";
  text.className = "banner lost";
  text.setAttribute("role", "alert");
  const since = new Date(Date.now() - (performance.now() - heard)).toLocaleTimeString(language);
  text.textContent = `■ ${_("No connection to the server since {time}. What you see may be old.", { time: since })}`;
  byId("review").before(text);
}
