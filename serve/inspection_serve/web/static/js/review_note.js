// A note to the part on the screen: nobody must write one. It is kept until the decision with it is saved.
import { _ } from "/static/js/text.js";

const byId = (id) => document.getElementById(id);
const button = byId("add-note");
const dialog = byId("note");
const form = byId("note-form");

export class Notes {
  constructor() {
    this.texts = new Map(); // record → what was written and is not saved yet
    byId("note-close").addEventListener("click", () => dialog.close());
  }

  of(record) {
    return this.texts.get(record) ?? "";
  }

  saved(record) {
    this.texts.delete(record);
  }

  // Tell on the button whether there is one.
  show(record) {
    button.setAttribute("aria-pressed", String(this.texts.has(record)));
    button.title = this.of(record);
  }

  // Let the person write; resolves when they kept it or went back.
  ask(record) {
    form.elements.note.value = this.of(record);
    byId("note-problem").hidden = true;
    form.onsubmit = (event) => {
      event.preventDefault();
      const text = form.elements.note.value.trim();
      if (text) this.texts.set(record, text);
      else this.texts.delete(record);
      dialog.close();
    };
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.onclose = () => resolve();
    });
  }

  refuse(scanned) {
    byId("note-problem").hidden = false;
    byId("note-problem").textContent = _("Scanned {text}: it is not taken into the note.", { text: scanned });
  }
}
