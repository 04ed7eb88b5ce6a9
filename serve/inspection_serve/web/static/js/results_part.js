// A part's story: its first picture in the viewer, and each finding leads to its place there. Without scripts the
// plain picture stays.
import { Viewer } from "/static/js/viewer.js";

const stage = document.getElementById("stage");

function open(stage) {
  const { picture, width, height, boxes } = stage.dataset;
  const links = [...document.querySelectorAll("a.finding")];
  const viewer = new Viewer(stage, { onPick: (index) => mark(index) });
  const plain = stage.parentElement.querySelector("img.picture");

  function mark(index) {
    viewer.highlight(index);
    for (const link of links) {
      if (Number(link.dataset.index) === index) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  function lead(index) {
    if (!viewer.toDefect(index)) return;
    mark(index);
    stage.scrollIntoView({ block: "nearest" });
  }

  stage.hidden = false;
  plain.classList.add("only-print");
  const part = { picture, width: Number(width), height: Number(height), boxes: JSON.parse(boxes) };
  const shown = viewer.show(part).then(
    () => true,
    () => false // the viewer itself says that the picture cannot be shown
  );
  for (const link of links)
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      history.replaceState(null, "", link.getAttribute("href"));
      if (await shown) lead(Number(link.dataset.index));
    });
  const asked = Number.parseInt(new URLSearchParams(location.search).get("finding") ?? "", 10);
  shown.then((is) => {
    stage.dataset.shown = is ? "yes" : "no";
    if (is && asked >= 1) lead(asked - 1);
  });
}

if (stage) open(stage);
