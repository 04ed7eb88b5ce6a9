// Change the person at a trusted terminal: pick a name, type the PIN; the page stays where it is.
import { _ } from "/static/js/text.js";
import { get, post } from "/static/js/api.js";

const dialog = document.getElementById("switch");
const opener = document.getElementById("change-person");
const byId = (id) => document.getElementById(id);
const pin = byId("pin");
let chosen = null;
let waiting = false;

function say(words) {
  byId("switch-said").textContent = words ? `■ ${words}` : "";
  byId("switch-said").hidden = !words;
}

const WHY = {
  pin_wrong: () => _("The PIN is wrong."),
  pin_locked: () => _("Five wrong PINs: sign in with the password."),
  terminal: () => _("This terminal is not trusted. Sign in with the password."),
};

function why(problem) {
  if (problem.status === 0) return _("NOT CHANGED: no answer from the server. Try again.");
  return (WHY[problem.code] ?? (() => _("NOT CHANGED: {why}", { why: problem.message })))();
}

async function open() {
  say("");
  choose(null);
  byId("switch-who").replaceChildren();
  dialog.showModal();
  try {
    const found = await get("/api/v1/switch");
    if (!found.people.length) say(_("Nobody has set a PIN yet. It is set on the page of the own account."));
    byId("switch-who").replaceChildren(
      ...found.people.map((person) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = person.display === person.name ? person.name : `${person.display} (${person.name})`;
        button.addEventListener("click", () => choose(person));
        return button;
      }),
    );
  } catch (problem) {
    say(why(problem));
  }
}

function choose(person) {
  chosen = person;
  pin.value = "";
  byId("switch-who").hidden = person !== null;
  byId("switch-pin").hidden = person === null;
  byId("switch-back").hidden = person === null;
  if (person === null) return;
  byId("switch-name").textContent = person.display;
  say("");
  pin.focus();
}

async function change() {
  if (waiting || chosen === null) return;
  waiting = true;
  byId("pin-go").disabled = true;
  try {
    await post("/api/v1/switch", { name: chosen.name, pin: pin.value });
    if (dialog.dataset.next) location.assign(dialog.dataset.next);
    else location.reload();
  } catch (problem) {
    say(why(problem));
    pin.value = "";
    pin.focus();
    waiting = false;
    byId("pin-go").disabled = false;
  }
}

for (const button of dialog.querySelectorAll("[data-digit]"))
  button.addEventListener("click", () => {
    if (pin.value.length < 8) pin.value += button.dataset.digit;
  });
byId("pin-delete").addEventListener("click", () => (pin.value = pin.value.slice(0, -1)));
byId("switch-back").addEventListener("click", () => choose(null));
byId("switch-close").addEventListener("click", () => dialog.close());
byId("switch-pin").addEventListener("submit", (event) => {
  event.preventDefault();
  change();
});
// A digit typed here must never judge the part behind the dialog.
for (const name of ["keydown", "keyup"]) dialog.addEventListener(name, (event) => event.stopPropagation());
dialog.addEventListener("close", () => choose(null));
opener.addEventListener("click", open);
opener.disabled = false;
