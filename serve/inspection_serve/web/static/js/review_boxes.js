// The boxes of the part in words, beside the picture: a box of the list leads to its place, and the other way round.
import { className, made, number } from "/static/js/review_view.js";

const list = document.getElementById("found");

function sign(box) {
  if (typeof box.score !== "number") return "✎";
  return box.counted === false ? "·" : "▲";
}

export class BoxList {
  constructor(viewer) {
    this.viewer = viewer;
  }

  // A box was chosen in the picture or in the list.
  mark(index) {
    this.viewer.highlight(index);
    [...list.children].forEach(({ firstElementChild: button }, place) => {
      if (place !== index) return button.removeAttribute("aria-current");
      button.setAttribute("aria-current", "true");
      return button.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  }

  // List what the picture shows of a part, nothing for null; struck through where a person's last word was: false calls.
  show(part) {
    if (!part) return this.#list([]);
    const { viewer } = this;
    const struck = part.said.at(-1)?.verdict === "false_call";
    viewer.strike(struck);
    list.classList.toggle("struck", struck);
    return this.#list(viewer.editor || !part.picture ? [] : (viewer.boxes() ?? part.boxes));
  }

  #list(boxes) {
    const rows = boxes.map((box, index) => {
      const score = typeof box.score === "number" ? ` ${number(box.score)}` : "";
      const button = made("button", `${sign(box)} ${className(box.class)}${score}`);
      button.addEventListener("click", () => this.viewer.toDefect(index) && this.mark(index));
      const row = made("li");
      row.append(button);
      return row;
    });
    list.hidden = boxes.length === 0;
    list.replaceChildren(...rows);
  }
}
