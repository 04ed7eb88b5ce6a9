// The review: one part on the screen, judged by the person who sees it.
//
//   load ─▶ open(record) ─▶ painted, 300 ms ─▶ judge ─▶ saving ─┬▶ saved ─▶ open(next), held ready unseen
//                │                                              ├▶ NOT SAVED: the part stays, with Send again
//                └─ someone else judged it: locked              └▶ someone else was faster: it stays, locked
//
// The part on the screen changes only by what the person does, and not before it is saved.
import { get, post, Problem } from "/static/js/api.js";
import { _, language } from "/static/js/text.js";
import { Viewer } from "/static/js/viewer.js";
import { FUNCTION_KEYS, Keys } from "/static/js/keys.js";
import * as view from "/static/js/review_view.js";
import { BoxList } from "/static/js/review_boxes.js";
import { Notes } from "/static/js/review_note.js";
import { KeyTable } from "/static/js/review_keys.js";
import { pressed, viewActions } from "/static/js/view_tools.js";

const SHOWN = 300; // milliseconds for which a part must be seen before it can be judged
const LOOK = 1200; // milliseconds between two looks for news
const QUIET = 2500; // milliseconds without an answer after which the connection counts as lost
const PAGE = 50;
const AHEAD = 2; // parts held ready

const root = document.getElementById("review");
const viewer = new Viewer(document.getElementById("viewer"), { names: view.classNames, onPick: (index) => boxes.mark(index) });
const boxes = new BoxList(viewer);
const keys = new KeyTable(JSON.parse(document.getElementById("keys").textContent));
const ready = new Map(); // record → promise of its data
const books = new Map(); // part name and recipe → promise of its golden part
const done = new Set();
const notes = new Notes();
const station = {
  items: [], left: 0, newest: 0, part: null, phase: "empty", shownAt: 0, press: null, own: [], query: new URLSearchParams(), heard: performance.now(), turn: 0,
};

// A name for one press, so that sending it again is no second verdict (randomUUID needs TLS).
function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function setPhase(phase) {
  station.phase = phase;
  root.dataset.phase = phase;
  refresh();
}

function refresh() {
  const free = station.phase === "shown" && !station.press && performance.now() - station.shownAt >= SHOWN;
  view.enable(free ? station.part.can : [], station.own.length > 0 && !station.press && ["shown", "empty", "unseen"].includes(station.phase));
  root.dataset.free = String(free);
}

function query(extra = {}) {
  const found = new URLSearchParams(station.query);
  for (const [name, value] of Object.entries(extra)) if (value !== null) found.set(name, value);
  return found;
}

async function load(after = null) {
  const page = await get(`/api/v1/reviews?${query({ limit: PAGE, after })}`);
  const known = new Set(station.items.map((item) => item.record));
  station.items = after === null ? page.items : [...station.items, ...page.items.filter((item) => !known.has(item.record))];
  station.newest = page.newest;
  station.left = page.left;
  view.showLeft(page.left, 0);
  return page.items.length;
}

function list() {
  view.showItems(station.items, station.part?.record ?? null, done, (record) => leave(() => open(record)));
}

const dataOf = (record) => {
  if (!ready.has(record)) ready.set(record, get(`/api/v1/reviews/${record}`).catch((problem) => (ready.delete(record), Promise.reject(problem))));
  return ready.get(record);
};

async function golden(part) {
  if (!part.part_name) return null;
  const key = `part=${encodeURIComponent(part.part_name)}&recipe=${part.recipe_number ?? ""}`;
  if (!books.has(key)) books.set(key, get(`/api/v1/book?${key}`).catch(() => null));
  const book = await books.get(key);
  return book?.golden ? { picture: book.golden.picture } : null;
}

// Leave the part on the screen; not while a press is not saved.
function leave(call) {
  if (station.press) return;
  viewer.endEdit();
  pressed("edit", false);
  call();
}

async function open(record, { fresh = false, press = null } = {}) {
  const turn = ++station.turn;
  if (fresh) ready.delete(record);
  view.showBanner("");
  setPhase("loading");
  try {
    const part = await dataOf(record);
    if (turn !== station.turn) return;
    const picture = part.pictures[0] ?? null;
    station.part = { ...part, picture, can: part.allowed };
    view.showPart(part);
    boxes.show(null);
    notes.show(record);
    document.getElementById("samples").href = `/book?part=${encodeURIComponent(part.part_name ?? "")}&recipe=${part.recipe_number ?? ""}`;
    const why = isPending(part) ? _("The picture is still being written.") : part.picture_text;
    const show = { ...pictureOf(part), why, boxes: part.boxes, heat: part.anomaly_score === null ? null : `/pictures/${record}/heat`, golden: null };
    golden(part).then((found) => { show.golden = found; if (found && viewer.state.golden && station.turn === turn) viewer.toggle("golden", true); });
    let gone = null;
    try {
      if (!(await viewer.show(show))) return;
    } catch (problem) {
      if (!isGone(problem)) throw problem;
      gone = problem;
    }
    if (turn !== station.turn) return;
    if (gone) unreadable(record, gone);
    station.shownAt = performance.now();
    root.dataset.painted = String(record);
    boxes.show(station.part);
    if (press) timed(press);
    setPhase("shown");
    list();
    setTimeout(refresh, SHOWN + 5);
    ahead(record);
    look();
  } catch (problem) {
    if (turn !== station.turn) return;
    root.dataset.painted = "";
    if (station.part?.record === record) station.part.can = [];
    setPhase("unseen");
    list();
    view.showBanner(_("This part cannot be shown: {why}", { why: problem.message }), [
      [_("Try again"), () => open(record, { fresh: true })],
      [_("Next part"), () => step(1)],
    ]);
  }
}

// The server says that it has no such picture; anything else may pass by itself.
const isGone = (problem) => [404, 409].includes(problem.status);

// The picture that the row names cannot be shown: only what can be said without it is left.
function unreadable(record, problem) {
  Object.assign(station.part, { picture: null, can: station.part.unseen });
  view.showWords(station.part.can, false);
  view.showBanner(_("This part cannot be shown: {why}", { why: problem.message }), [[_("Try again"), () => open(record, { fresh: true })]]);
}

const pictureOf = ({ pictures: [picture] }) => ({ picture: picture?.url ?? null, width: picture?.width ?? 1, height: picture?.height ?? 1 });

// A part is listed as soon as it is decided; its picture follows.
const isPending = (part) => part.image_state === "pending" && !part.pictures.length;

async function fillIn(part) {
  const found = await get(`/api/v1/reviews/${part.record}`, { timeout: QUIET });
  if (station.part === part && station.phase === "shown" && !station.press && !isPending(found)) open(part.record, { fresh: true });
}

// Where the time of a press went; for bench/inspection_bench/web_review.py.
function timed({ since, sent, answered }) {
  if (performance.getEntriesByName("key to painted").length >= 500) performance.clearMeasures();
  performance.measure("key to painted", { start: since, end: station.shownAt });
  performance.measure("key to sent", { start: since, end: sent });
  performance.measure("sent to saved", { start: sent, end: answered });
  performance.measure("saved to painted", { start: answered, end: station.shownAt });
}

// Hold the next parts ready: data and picture; of the very next the picture is drawn, unseen.
function ahead(record) {
  const place = station.items.findIndex((item) => item.record === record);
  const next = station.items.slice(place + 1).filter((item) => !done.has(item.record)).slice(0, AHEAD);
  for (const known of [...ready.keys()]) if (known !== record && known !== station.press?.record && !next.some((item) => item.record === known)) ready.delete(known);
  const [first] = next;
  for (const item of next) dataOf(item.record).then((part) => (item === first ? viewer.prepare(pictureOf(part)) : viewer.preload(part.pictures[0]?.url))).catch(() => {});
}

function nextItem(way) {
  const place = station.items.findIndex((item) => item.record === station.part?.record);
  const rest = way > 0 ? station.items.slice(place + 1) : station.items.slice(0, Math.max(place, 0)).reverse();
  return rest.find((item) => way < 0 || !done.has(item.record));
}

async function step(way, press = null) {
  const next = nextItem(way);
  if (next) return open(next.record, { press, fresh: done.has(next.record) });
  if (way < 0) return undefined;
  const last = station.query.get("order") === "uncertain" ? null : (station.items.at(-1)?.record ?? null);
  const { turn } = station;
  try {
    await load(last);
  } catch (problem) {
    if (turn !== station.turn) return undefined;
    return view.showBanner(_("The list cannot be read: {why}", { why: problem.message }), [[_("Try again"), () => step(1)]]);
  }
  if (turn !== station.turn) return undefined; // the person has opened another part meanwhile
  const more = station.items.find((item) => !done.has(item.record) && item.record !== station.part?.record);
  return more ? open(more.record, { press }) : nothing();
}

function nothing() {
  station.turn += 1;
  station.part = null;
  viewer.show({ picture: null, width: 1, height: 1, boxes: [], heat: null, golden: null });
  root.dataset.painted = "";
  view.showNothing();
  boxes.show(null);
  list();
  setPhase("empty");
}

// Judge the part on the screen.
function judge(verdict, event, extra = {}) {
  const { part } = station;
  if (station.press || station.phase !== "shown" || performance.now() - station.shownAt < SHOWN || !part.can.includes(verdict)) return undefined;
  const body = {
    verdict, version: part.version, client: newName(), image_sha256: part.picture?.sha256 ?? "",
    shown: (performance.now() - station.shownAt) / 1000, boxes: viewer.boxes(), comment: notes.of(part.record), ...extra,
  };
  station.press = { path: `/api/v1/reviews/${part.record}/verdict`, record: part.record, verdict, decision: part.decision, body, since: event?.timeStamp ?? performance.now() };
  return send();
}

async function send() {
  const { press } = station;
  press.sent = performance.now();
  const answering = post(press.path, press.body);
  setPhase("saving");
  view.showBanner("");
  if (viewer.editor) {
    viewer.endEdit();
    pressed("edit", false);
    boxes.show(station.part);
  }
  let answer;
  try {
    answer = await answering;
  } catch (problem) {
    return failed(press, problem);
  }
  press.answered = performance.now();
  return saved(press, answer);
}

function saved(press, answer) {
  station.press = null;
  ready.delete(press.record);
  if (press.verdict === "undo") {
    station.own.shift();
    done.delete(press.record);
  } else {
    station.own.unshift({ record: answer.record, version: answer.version });
    station.own.length = Math.min(station.own.length, 10);
    done.add(press.record);
    notes.saved(press.record);
    if (press.verdict === "false_call") viewer.strike(true);
    station.left = Math.max(0, station.left - 1);
  }
  view.showUndo(station.own[0]);
  view.showLeft(station.left, 0);
  const told = answer.told ? _("The PLC was told {decision}; that stays.", { decision: view.decisionText(answer.told) }) : "";
  const what = press.verdict === "undo" ? _("taken back") : view.verdictText(press.verdict, press.decision);
  const after = { second: _("A second person looks at it."), engineer: _("The engineer looks at it.") }[answer.state] ?? "";
  view.showOutcome(`✓ ${_("Saved: part {record}, {what}.", { record: press.record, what })} ${after} ${press.verdict === "undo" ? told : ""}`.trim());
  return press.verdict === "undo" ? open(press.record, { fresh: true }) : step(1, press);
}

function failed(press, problem) {
  const name = { record: press.record };
  if (problem.status === 409) {
    station.press = null;
    const told = _("NOT SAVED: someone else has judged part {record} meanwhile.", name);
    if (press.verdict !== "undo" || press.record === station.part?.record) return lock(told);
    station.own.shift(); // the part on the screen is another one, and as it was
    view.showUndo(station.own[0]);
    setPhase(press.phase);
    return view.showBanner(told);
  }
  setPhase("failed");
  const unknown = problem.status === 0 || problem.status >= 500;
  const why = unknown ? _("there is no answer, or the store cannot be written") : view.refusal(problem);
  const buttons = [[_("Send again"), () => send()]];
  if (!unknown) buttons.push([_("Back to the part"), () => { station.press = null; open(press.record, { fresh: true }); }]);
  return view.showBanner(_("NOT SAVED: part {record}: {why}.", { ...name, why }), buttons);
}

function lock(text) {
  document.querySelector("#choose[open]")?.close();
  setPhase("locked");
  view.showBanner(text, [[_("Go on"), () => { done.add(station.part.record); ready.delete(station.part.record); step(1); }]]);
}

function undo() {
  const own = station.own[0];
  if (!own || station.press || !["shown", "empty", "unseen"].includes(station.phase)) return;
  station.press = {
    path: `/api/v1/reviews/${own.record}/undo`, record: own.record, verdict: "undo", decision: "",
    body: { version: own.version, client: newName() }, since: performance.now(), phase: station.phase,
  };
  send();
}

async function overrule(event) {
  const { part, phase } = station;
  if (station.press || phase !== "shown" || performance.now() - station.shownAt < SHOWN || !part.can.includes("false_call")) return;
  if (part.decision !== "FAIL") return void judge("false_call", event);
  const reason = await view.choose(_("Why is it OK?"), part.reasons.map(({ code, name }) => [code, name]));
  if (reason !== null && station.part === part) judge("false_call", { timeStamp: performance.now() }, { reason_code: reason });
}

async function confirm(event) {
  const { part, phase } = station;
  if (station.press || phase !== "shown" || performance.now() - station.shownAt < SHOWN) return;
  if (part.can.includes("real_defect")) return void judge("real_defect", event, part.defect_class ? { defect_class: part.defect_class } : {});
  if (!part.can.includes("missed")) return;
  const found = await view.choose(_("Which defect was missed?"), part.classes.map((code) => [code, view.className(code)]), true);
  if (found !== null && station.part === part) judge("missed", { timeStamp: performance.now() }, { defect_class: found });
}

async function edit() {
  if (station.press || station.phase !== "shown" || !station.part?.picture) return;
  if (viewer.editor) viewer.endEdit();
  else await viewer.edit({ classes: station.part.classes });
  pressed("edit", Boolean(viewer.editor));
  boxes.show(station.part);
}

async function note() {
  const { part } = station;
  if (station.press || station.phase !== "shown") return;
  await notes.ask(part.record);
  if (station.part === part) notes.show(part.record);
}

const ACTIONS = {
  ...viewActions(viewer),
  confirm, overrule, undo, edit, note,
  borderline: (event) => judge("borderline", event),
  unsure: (event) => judge("unsure", event),
  aborted: (event) => judge("aborted", event),
  previous: () => viewer.editor || leave(() => step(-1)),
  next: () => viewer.editor || leave(() => step(1)),
  samples: () => leave(() => location.assign(document.getElementById("samples").href)),
  full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  mute: () => import("/static/js/sounds.js").then((sounds) => sounds.toggle()).then(view.showOutcome).catch(() => {}),
  help: () => keys.show(),
};

function onKey(code, event) {
  const dialog = view.openDialog();
  if (dialog) {
    const place = /^Digit([1-9])$/.exec(code)?.[1];
    if (dialog.id === "choose" && place) view.pressChoice(place);
    if (dialog.id === "help") keys.take(code, event);
    return;
  }
  if (event.key === "?" || (code === "Slash" && event.shiftKey)) return void ACTIONS.help();
  if (code === "F8" || code === "F9") event.preventDefault();
  const action = code === "Undo" ? "undo" : (keys.actionOf(code) ?? FUNCTION_KEYS[code]);
  if (action) ACTIONS[action](event);
}

async function onScan(text) {
  if (station.press) return view.showOutcome(_("Scanned {text}: first the part that is not saved.", { text }));
  view.openDialog()?.close();
  try {
    const found = await get(`/api/v1/reviews/find?text=${encodeURIComponent(text)}`);
    if (found.in_review) return leave(() => open(found.record, { fresh: true }));
    return view.showOutcome(_("Scanned {text}: part {record} is not in review.", { text, record: found.record }));
  } catch (problem) {
    const why = problem.status === 404 ? _("there is no such part") : problem.message;
    return view.showOutcome(_("Scanned {text}: {why}.", { text, why }));
  }
}

// News of the queue and of the part on the screen; the list and the part stay as they are.
let looking = null;
async function look() {
  clearTimeout(looking);
  const { part, turn } = station;
  try {
    const news = await get(`/api/v1/reviews/news?${query({ newest: station.newest, record: part?.record ?? null, strip: part?.station ?? station.items[0]?.station ?? null })}`, { timeout: QUIET });
    station.heard = performance.now();
    root.dataset.heard = "true";
    document.getElementById("lost")?.remove();
    station.left = news.left;
    view.showLeft(news.left, news.came);
    view.showStrip(news.strip, part?.record);
    const same = part && turn === station.turn && station.part === part;
    if (same && station.phase === "shown" && news.version !== part.version) {
      lock(_("Someone else has judged part {record} meanwhile ({who}). You cannot judge it any more.", { record: part.record, who: news.who ?? "–" }));
    } else if (same && station.phase === "shown" && isPending(part)) await fillIn(part);
  } catch {
    if (performance.now() - station.heard > QUIET) view.showLost(station.heard);
  }
  clearTimeout(looking);
  looking = setTimeout(look, document.getElementById("lost") ? LOOK / 2 : LOOK);
}

async function restart() {
  const form = new FormData(document.getElementById("filters"));
  station.query = new URLSearchParams();
  for (const [name, value] of form) {
    if (value) station.query.set(name, ["since", "until"].includes(name) ? new Date(value).toISOString() : value);
  }
  done.clear();
  ready.clear();
  try {
    await load();
    if (station.items.length) await open(station.items[0].record);
    else nothing();
  } catch (problem) {
    view.showBanner(_("The list cannot be read: {why}", { why: problem.message }), [[_("Try again"), restart]]);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (button && !button.disabled) ACTIONS[button.dataset.action](event);
});
document.getElementById("filters").addEventListener("submit", (event) => {
  event.preventDefault();
  leave(restart);
});
document.getElementById("came").addEventListener("click", async () => {
  const uncertain = station.query.get("order") === "uncertain";
  try {
    await load(uncertain ? null : (station.items.at(-1)?.record ?? null));
    list();
    if (station.phase === "empty") step(1);
  } catch (problem) {
    view.showOutcome(_("The list cannot be read: {why}", { why: problem.message }));
  }
});
window.addEventListener("beforeunload", (event) => {
  if (station.press) event.preventDefault();
});

const onSlow = (text) =>
  view.showBanner(_("Was that a scanner? {text} came so slowly that it was taken as keys. Look at the last decisions; Undo takes them back.", { text }));

new Keys({ onKey, onScan, onSlow, onTyped: (text) => notes.refuse(text) });
keys.label(ACTIONS);
get("/api/v1/reviews/mine").then((own) => { station.own = own; view.showUndo(own[0]); refresh(); }).catch(() => {});
await restart();
look();
