// The table of the keys: on the buttons, in the help dialog, changed by the person they belong to.
import { call, Problem } from "/static/js/api.js";
import { _ } from "/static/js/text.js";
import { keyName } from "/static/js/keys.js";

const byId = (id) => document.getElementById(id);

const titles = () => ({
  confirm: _("Confirm NG"), overrule: _("Overrule: OK"), borderline: _("On the limit"), unsure: _("Not sure: ask the engineer"),
  aborted: _("Cannot be judged"), undo: _("Undo"), previous: _("Part before"), next: _("Next part"), boxes: _("Boxes"),
  heat: _("Heat map"), golden: _("Golden part"), blink: _("Blink with the golden part"), edit: _("Correct boxes"),
  samples: _("Limit samples"), defect: _("To the defect"), fit: _("Fit"), closer: _("Closer"), farther: _("Farther"),
  full: _("Full screen"), mute: _("Sound on or off"),
});

export class KeyTable {
  constructor({ own, delivered }) {
    this.keys = own;
    this.delivered = delivered;
    this.waiting = null; // the action that gets the next key
    byId("help-close").addEventListener("click", () => byId("help").close());
    byId("help-restore").addEventListener("click", () => this.#save({}));
    byId("help").addEventListener("close", () => (this.waiting = null));
  }

  actionOf(code) {
    return Object.keys(this.keys).find((action) => this.keys[action] === code);
  }

  // Write the keys on the buttons.
  label() {
    const elements = [...document.querySelectorAll("[data-action]"), byId("samples")];
    for (const element of elements) {
      const code = this.keys[element.dataset.action ?? "samples"];
      if (!code) continue;
      const name = keyName(code);
      element.setAttribute("aria-keyshortcuts", { "+": "Plus", "−": "-" }[name] ?? name);
      const plate = element.querySelector("kbd");
      if (plate) plate.textContent = name;
    }
  }

  show() {
    this.#say("");
    this.#rows();
    byId("help").showModal();
  }

  #say(text) {
    byId("help-problem").hidden = !text;
    byId("help-problem").textContent = text;
  }

  #rows() {
    const rows = Object.entries(titles()).map(([action, title]) => {
      const row = document.createElement("tr");
      const head = row.insertCell();
      head.textContent = title;
      const key = document.createElement("kbd");
      key.textContent = keyName(this.keys[action]);
      row.insertCell().append(key);
      const button = document.createElement("button");
      const waits = this.waiting === action;
      button.textContent = waits ? _("Press a key …") : _("Change");
      button.setAttribute("aria-label", `${title}: ${button.textContent}`);
      button.dataset.change = action;
      button.addEventListener("click", () => {
        this.waiting = action;
        this.#say("");
        this.#rows();
        byId("key-rows").querySelector(`[data-change="${action}"]`).focus();
      });
      row.insertCell().append(button);
      return row;
    });
    byId("key-rows").replaceChildren(...rows);
  }

  // A key was pressed while the dialog is open.
  take(code) {
    if (!this.waiting || code === "Escape" || code === "Tab") return;
    const taken = this.actionOf(code);
    if (taken && taken !== this.waiting) {
      this.#say(_("{key} is taken by “{action}”.", { key: keyName(code), action: titles()[taken] }));
      return;
    }
    const own = Object.fromEntries(Object.entries(this.keys).filter(([action, key]) => this.delivered[action] !== key));
    this.#save({ ...own, [this.waiting]: code });
  }

  async #save(keys) {
    this.waiting = null;
    try {
      const answer = await call("PUT", "/api/v1/me/keys", { keys });
      this.keys = answer.keys;
      this.label();
      this.#say("");
    } catch (problem) {
      const known = problem instanceof Problem && ["key", "conflict", "action"].includes(problem.code);
      this.#say(known ? _("This key cannot be chosen.") : _("NOT SAVED: {why}", { why: problem.message }));
    }
    this.#rows();
  }
}
