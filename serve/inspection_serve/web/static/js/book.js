// The book: add a part, take an entry out, name a class, look at a picture.
import { _ } from "/static/js/text.js";
import { post } from "/static/js/api.js";
import { Viewer } from "/static/js/viewer.js";

const said = document.getElementById("said");

function say(text, failed) {
  said.className = failed ? "error" : "notice";
  const words = failed ? _("NOT SAVED: {why}", { why: text }) : text;
  said.textContent = `${failed ? "■" : "✓"} ${words}`;
  said.hidden = false;
}

// Send what a person asked for; say what came of it. Returns the answer, null when it was not saved.
async function save(button, path, body) {
  button.disabled = true;
  try {
    return await post(path, body);
  } catch (problem) {
    say(problem.status ? problem.message : _("no answer from the server. Try again."), true);
    return null;
  } finally {
    button.disabled = false;
  }
}

// Buttons come switched off: a press before this module listens would be lost without a word.
for (const button of document.querySelectorAll("#add button, #names button, button.take-out")) button.disabled = false;

for (const button of document.querySelectorAll("button.take-out"))
  button.addEventListener("click", async () => {
    if (button.dataset.sure !== "yes") {
      button.dataset.sure = "yes"; // asks once, in place
      button.textContent = _("Really take it out?");
      return;
    }
    const done = await save(button, `/api/v1/book/${button.dataset.entry}/deactivate`);
    if (!done) return;
    say(_("Taken out. The picture is kept."), false);
    button.closest("li")?.remove();
    button.remove();
  });

const adding = document.getElementById("add");
if (adding) {
  const kind = () => new FormData(adding).get("kind");
  const choose = () => {
    const limit = kind() !== null && kind() !== "golden";
    adding.elements.defect_class.disabled = !limit;
    adding.elements.defect_class.required = limit;
    if (!limit) adding.elements.defect_class.value = "";
  };
  for (const radio of adding.elements.kind) radio.addEventListener("change", choose);
  choose();
  adding.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = {
      record: Number(adding.dataset.record),
      kind: kind(),
      defect_class: adding.elements.defect_class.value,
      note: adding.elements.note.value,
    };
    const made = await save(event.submitter ?? adding.querySelector("button.primary"), "/api/v1/book", body);
    if (made) say(_("Saved in the book as entry {number}.", { number: made.id }), false);
  });
}

const names = document.getElementById("names");
names?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(names));
  if (await save(event.submitter ?? names.querySelector("button"), "/api/v1/book/classes", body)) location.reload();
});

const stage = document.getElementById("stage");
if (stage) {
  const viewer = new Viewer(stage);
  const image = new Image();
  const part = (width, height) => ({ picture: stage.dataset.picture, width, height });
  image.onload = () => viewer.show(part(image.naturalWidth, image.naturalHeight)).catch(() => {});
  image.onerror = () => viewer.show(part(1, 1)).catch(() => {}); // the viewer says why
  image.src = stage.dataset.picture;
  const zoom = document.getElementById("zoom");
  zoom.hidden = false;
  const ways = {
    in: () => viewer.zoom(1.5),
    out: () => viewer.zoom(1 / 1.5),
    fit: () => viewer.fit(),
    one: () => viewer.oneToOne(),
  };
  for (const button of zoom.querySelectorAll("button"))
    button.addEventListener("click", () => ways[button.dataset.zoom]());
}
