// Results: says when a search got no answer, prints, and says when a picture is gone. Works without it too.
import { _ } from "/static/js/text.js";

const busy = document.getElementById("busy");

function say(text, wrong = false) {
  if (!busy) return;
  busy.textContent = text;
  busy.className = wrong ? "error" : "quiet";
}

document.addEventListener("htmx:before:request", () => say(_("Searching…")));
document.addEventListener("htmx:after:swap", () => say(""));
// What is shown below is then the search before: it must not look like the answer.
document.addEventListener("htmx:error", () => say(_("No answer: what is shown is the search before. Try again."), true));

for (const button of document.querySelectorAll("#print")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}

function lost(image) {
  image.hidden = true;
  image.parentElement.querySelector(".lost").hidden = false;
}

for (const image of document.querySelectorAll("img.picture")) {
  if (image.complete && image.naturalWidth === 0) lost(image);
  else image.addEventListener("error", () => lost(image));
}
