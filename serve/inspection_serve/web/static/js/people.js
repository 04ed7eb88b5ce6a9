// People and the own account: add, change, reset; PIN, sessions, terminals; keys of machines.
import { _ } from "/static/js/text.js";
import { post } from "/static/js/api.js";

const said = document.getElementById("said");

const WHY = {
  taken: () => _("This name is taken."),
  last: () => _("This is the last administrator. Make another one first."),
  wrong: () => _("That is not your password."),
  simple: () => _("This PIN is too simple. Choose another one."),
  limited: () => _("Too many wrong attempts. Wait a quarter of an hour, or ask an administrator."),
  past: () => _("This day is over already."),
  malformed: () => _("Something in this request is not right."),
  role: () => _("You may not do this."),
};

function say(text, failed = false) {
  said.className = failed ? "error" : "notice";
  said.textContent = `${failed ? "■" : "✓"} ${text}`;
  said.hidden = false;
  said.scrollIntoView({ block: "nearest" });
}

// Send what was asked for. Returns the answer (true for an empty one), null when nothing was changed.
async function save(button, path, body) {
  button.disabled = true;
  try {
    return (await post(path, body)) ?? true;
  } catch (problem) {
    const why = problem.status === 0 ? _("no answer from the server. Look whether it was changed, then try again.") : (WHY[problem.code]?.() ?? problem.message);
    say(_("NOT SAVED: {why}", { why }), true);
    return null;
  } finally {
    button.disabled = false;
  }
}

// A form whose submit goes through `send(values, button)`. Its button comes switched off.
function onSubmit(form, send) {
  const button = form.querySelector("button[type=submit], button:not([type])");
  button.disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(Object.fromEntries(new FormData(form)), button);
  });
}

function tell(answer) {
  document.getElementById("once-name").textContent = answer.account.name;
  document.getElementById("once-password").textContent = answer.password;
  document.getElementById("once").showModal();
}

document.getElementById("once")?.addEventListener("close", () => {
  document.getElementById("once-password").textContent = "";
  location.reload();
});
document.getElementById("once-close")?.addEventListener("click", () => document.getElementById("once").close());

const adding = document.getElementById("add-person");
if (adding)
  onSubmit(adding, async (values, button) => {
    const answer = await save(button, "/api/v1/people", values);
    if (answer) tell(answer);
  });

for (const form of document.querySelectorAll("form.account")) {
  const path = `/api/v1/people/${form.dataset.id}`;
  onSubmit(form, async (values, button) => {
    if (await save(button, path, values)) say(_("Saved: {name}", { name: form.dataset.name }));
  });
  for (const button of form.querySelectorAll("button[data-active]")) {
    button.disabled = false;
    button.addEventListener("click", async () => {
      if (await save(button, path, { active: button.dataset.active === "true" })) location.reload();
    });
  }
  const reset = form.querySelector("button.reset");
  reset.disabled = false;
  reset.addEventListener("click", async () => {
    if (reset.dataset.sure !== "yes") {
      reset.dataset.sure = "yes"; // asks once, in place
      reset.textContent = _("Really reset it?");
      return;
    }
    const answer = await save(reset, `${path}/password`);
    if (answer) tell(answer);
  });
}

const pin = document.getElementById("set-pin");
if (pin)
  onSubmit(pin, async (values, button) => {
    if (!(await save(button, "/api/v1/me/pin", values))) return;
    pin.reset();
    say(_("The PIN is set. It works at trusted terminals."));
  });

const naming = document.getElementById("trust");
if (naming)
  onSubmit(naming, async (values, button) => {
    if (await save(button, "/api/v1/terminals", values)) location.reload();
  });

const making = document.getElementById("make-key");
if (making)
  onSubmit(making, async (values, button) => {
    const body = { name: values.name, pictures: values.pictures === "on", last_day: values.last_day || null };
    const answer = await save(button, "/api/v1/keys", body);
    if (!answer) return;
    document.getElementById("key-once-name").textContent = answer.key.name;
    document.getElementById("key-once-secret").textContent = answer.secret;
    document.getElementById("key-once").showModal();
  });

document.getElementById("key-once")?.addEventListener("close", () => {
  document.getElementById("key-once-secret").textContent = "";
  location.reload();
});
document.getElementById("key-once-close")?.addEventListener("click", () => document.getElementById("key-once").close());

for (const button of document.querySelectorAll("button.revoke")) {
  button.disabled = false;
  button.addEventListener("click", async () => {
    if (button.dataset.sure !== "yes") {
      button.dataset.sure = "yes"; // asks once, in place
      button.textContent = _("Really revoke it?");
      button.removeAttribute("aria-label");
      return;
    }
    if (await save(button, `/api/v1/keys/${button.dataset.id}/revoke`)) location.reload();
  });
}

// Buttons that do one thing and load the page again.
for (const button of document.querySelectorAll("button[data-post]")) {
  button.disabled = false;
  button.addEventListener("click", async () => {
    const body = button.dataset.terminal ? { name: button.dataset.terminal } : undefined;
    if (await save(button, button.dataset.post, body)) location.reload();
  });
}
