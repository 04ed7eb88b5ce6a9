// Models: ask, approve, decline, switch, roll back; start, follow and cancel jobs.
import { _ } from "/static/js/text.js";
import { get, post } from "/static/js/api.js";

const said = document.getElementById("said");
const SLOW = 150000; // every file of a release is read before it is approved or put into a recipe

function say(text, failed) {
  said.className = failed ? "error" : "notice";
  const words = failed ? _("NOT SAVED: {why}", { why: text }) : text;
  said.textContent = `${failed ? "■" : "✓"} ${words}`;
  said.hidden = false;
  said.scrollIntoView({ block: "nearest" });
}

// Send what a person asked for; say when it was not saved. Returns the answer, null then.
async function save(button, path, body) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    return await post(path, body, { timeout: SLOW });
  } catch (problem) {
    const words = problem.status ? problem.message : _("no answer from the server. Load the page again to see what holds.");
    say(words, true);
    return null;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

// Asks once more, in place. True: pressed a second time.
function sure(button, words) {
  if (button.dataset.sure === "yes") return true;
  button.dataset.sure = "yes";
  button.textContent = words;
  return false;
}

const release = document.getElementById("release");

document.getElementById("approval")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const button = event.submitter ?? form.querySelector("button");
  const { part, number, sha256 } = release.dataset;
  const body = { step: button.value, card_sha256: sha256, comment: form.elements.comment.value };
  if (await save(button, `/api/v1/models/${part}/${number}/approval`, body)) location.reload();
});

for (const form of document.querySelectorAll("form.switch"))
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (!sure(button, _("Really change recipe {number}?", { number: form.dataset.recipe }))) return;
    const { part, number, sha256 } = release.dataset;
    const body = {
      recipe: Number(form.dataset.recipe),
      recipe_sha256: form.dataset.sha256,
      card_sha256: sha256,
      limits: new FormData(form).get("limits"),
    };
    if (await save(button, `/api/v1/models/${part}/${number}/switch`, body)) location.reload();
  });

document.getElementById("new-recipe")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { recipe, deadline } = event.currentTarget.elements;
  const button = event.currentTarget.querySelector("button");
  if (!sure(button, _("Really make recipe {number}?", { number: recipe.value }))) return;
  const { part, number, sha256 } = release.dataset;
  const body = { recipe: Number(recipe.value), card_sha256: sha256, deadline: Number(deadline.value) };
  if (await save(button, `/api/v1/models/${part}/${number}/recipe`, body)) location.reload();
});

for (const button of document.querySelectorAll("button.roll-back"))
  button.addEventListener("click", async () => {
    if (!sure(button, _("Really go back to {name}?", { name: button.dataset.name }))) return;
    const body = { number: Number(button.dataset.number), recipe_sha256: button.dataset.sha256 };
    if (await save(button, `/api/v1/models/recipes/${button.dataset.recipe}/back`, body)) location.reload();
  });

async function start(button, body) {
  const job = await save(button, "/api/v1/jobs", body);
  if (job) location.assign(`/models/jobs/${job.id}`);
}

document.getElementById("train")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const { dataset, experiment, start: weights, part, minutes, harvest } = form.elements;
  start(form.querySelector("button"), {
    kind: "train",
    dataset: dataset.value,
    experiment: experiment.value,
    start: weights.value,
    part: part.value,
    minutes: Number(minutes.value),
    harvest: harvest.checked,
  });
});

document.getElementById("replay")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const { limit, recipe } = event.currentTarget.elements;
  start(event.currentTarget.querySelector("button"), {
    kind: "replay",
    part: release.dataset.part,
    number: Number(release.dataset.number),
    recipe: recipe.value ? Number(recipe.value) : null,
    limit: Number(limit.value),
  });
});

// Buttons come switched off: a press before this module listens would be lost without a word.
for (const button of document.querySelectorAll("#approval button, .switch button, #new-recipe button, .roll-back, #train button, #replay button, #cancel, #give-up"))
  button.disabled = false;

const job = document.getElementById("job");
const steps = {
  harvest: _("Taking judged parts into the dataset"),
  check: _("Checking the dataset"),
  train: _("Training, measuring, gates"),
  replay: _("Deciding stored parts again"),
};

document.getElementById("cancel")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  if (!sure(button, _("Really cancel the job?"))) return;
  if (await save(button, `/api/v1/jobs/${job.dataset.job}/cancel`)) {
    button.hidden = true;
    say(_("Asked to end. It takes some seconds."), false);
  }
});

document.getElementById("give-up")?.addEventListener("click", async (event) => {
  const button = event.currentTarget;
  if (!sure(button, _("Does it really run no more there?"))) return;
  if (await save(button, `/api/v1/jobs/${job.dataset.job}/give-up`)) location.reload();
});

function showProgress(progress) {
  const bar = document.getElementById("epochs");
  if (!bar) return;
  document.getElementById("step").textContent = steps[progress.step] ?? "–";
  if (progress.done === null) bar.removeAttribute("value");
  else {
    bar.max = progress.of || progress.done || 1;
    bar.value = progress.done;
  }
  const words = Object.entries(progress.latest).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
  const epochs = progress.done === null ? [] : [_("epoch {done} of at most {of}", { done: progress.done, of: progress.of ?? "?" })];
  document.getElementById("values").textContent = [...epochs, ...words].join(" · ");
}

async function follow() {
  const log = document.getElementById("log");
  const age = document.getElementById("age");
  let heard = Date.now();
  for (;;) {
    try {
      const [piece, now] = await Promise.all([
        get(`/api/v1/jobs/${job.dataset.job}/log?offset=${log.dataset.offset}`),
        get(`/api/v1/jobs/${job.dataset.job}`),
      ]);
      const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      if (piece.text) log.append(piece.text);
      log.dataset.offset = piece.offset;
      if (below) log.scrollTop = log.scrollHeight;
      showProgress(now.progress);
      heard = Date.now();
      age.textContent = "";
      age.className = "quiet";
      if (piece.offset < piece.size) continue; // there is more already
      if (now.ended_at) {
        if (job.dataset.ended === "no") location.reload();
        return;
      }
    } catch (problem) {
      const seconds = Math.round((Date.now() - heard) / 1000);
      age.className = "error";
      const words = _("No answer from the server: what is shown is {seconds} s old. The job goes on.", { seconds });
      age.textContent = `■ ${words}`;
    }
    await new Promise((done) => setTimeout(done, 2000));
  }
}

if (job) {
  const log = document.getElementById("log");
  log.scrollTop = log.scrollHeight;
  follow();
}
