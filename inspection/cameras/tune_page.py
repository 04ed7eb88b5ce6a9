"""The page of `inspection cameras tune`, in Korean and English: plain HTML, nothing from elsewhere.

The measurement's own messages (a camera that went away, a refused frame) stay as the driver says them.
"""

from __future__ import annotations

import os
from html import escape

LANGUAGES = ("ko", "en")
TEXTS: dict[str, tuple[str, str]] = {
    "title": ("초점과 노출", "focus and exposure"),
    "picture": (
        "실시간 영상. 초록색 틀 안에서 측정합니다.",
        "Live picture; the green frame is where it is measured",
    ),
    "focus": ("초점", "Focus"),
    "best": ("지금까지 최고 초점", "Best focus so far"),
    "mean": ("평균 밝기", "Mean grey level"),
    "of_255": ("/ 255", "of 255"),
    "bright": ("너무 밝음", "Too bright"),
    "dark": ("너무 어두움", "Black"),
    "of_pixels": ("(전체 픽셀 대비)", "of the pixels"),
    "refused": ("버린 프레임", "Frames refused"),
    "histogram": ("밝기 분포, 왼쪽이 어두움", "Grey levels, dark left"),
    "how": (
        "초점 값이 가장 커질 때까지 렌즈를 돌리십시오. 검사할 부분이 너무 밝거나 어둡지 않도록 노출과 조명을 "
        "맞추십시오. 초점 값은 같은 장면, 같은 조명에서만 비교할 수 있습니다.",
        "Turn the lens until focus is highest. Set exposure and light so that no pixel that matters "
        "is too bright or black. Focus is comparable only on the same scene under the same light.",
    ),
    "stopped": ("프로그램이 멈췄습니다.", "The program was stopped."),
}
_NAMES = {"ko": "한국어", "en": "English"}
_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}: {title}</title>
<link rel="stylesheet" href="/tune.css">
</head>
<body data-stopped="{stopped}">
<main>
<nav>{languages}</nav>
<h1>{name}: {title}</h1>
<p id="trouble" role="status"></p>
<img id="picture" src="/stream" alt="{picture}">
<dl>
<dt>{focus}</dt><dd><span id="focus">–</span> <meter id="share" min="0" max="1" value="0" \
aria-label="{focus}"></meter></dd>
<dt>{best}</dt><dd id="best">–</dd>
<dt>{mean}</dt><dd><span id="mean">–</span> {of_255}</dd>
<dt>{bright}</dt><dd><span id="bright">–</span> {of_pixels}</dd>
<dt>{dark}</dt><dd><span id="dark">–</span> {of_pixels}</dd>
<dt>{refused}</dt><dd id="refused">0</dd>
</dl>
<canvas id="histogram" width="512" height="120" role="img" aria-label="{histogram}"></canvas>
<p>{how}</p>
</main>
<script src="/tune.js"></script>
</body>
</html>
"""


def default_language() -> str:
    """Return the language of the page that was asked for none: as of every command."""
    wanted = os.environ.get("INSPECTION_LANGUAGE", "ko")
    return wanted if wanted in LANGUAGES else "en"


def page(language: str, name: str) -> str:
    """Return the page of one camera in `ko` or `en`, with links to the other language."""
    index = LANGUAGES.index(language)
    texts = {code: escape(pair[index]) for code, pair in TEXTS.items()}
    links = " ".join(_link(one, one == language) for one in LANGUAGES)
    return _PAGE.format(language=language, name=escape(name), languages=links, **texts)


def _link(language: str, is_shown: bool) -> str:
    current = ' aria-current="true"' if is_shown else ""
    where = f'href="/?language={language}" lang="{language}" hreflang="{language}"'
    return f"<a {where}{current}>{_NAMES[language]}</a>"


STYLE = """body { font: 16px/1.4 "Noto Sans CJK KR", "Malgun Gothic", sans-serif; margin: 1rem;
  word-break: keep-all; color: #111; background: #fff; }
main { max-width: 70rem; margin: auto; }
h1 { font-size: 1.3rem; }
nav { float: right; }
nav a { display: inline-block; padding: .5rem; color: #036; }
nav a[aria-current] { color: #111; font-weight: bold; text-decoration: none; }
img { max-width: 100%; max-height: 60vh; background: #ddd; min-height: 4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: 1.2rem; }
dd { margin: 0; font-variant-numeric: tabular-nums; }
meter { width: 20rem; max-width: 50%; }
canvas { border: 1px solid #666; max-width: 100%; }
#trouble { color: #a00; font-weight: bold; min-height: 1.4em; }
"""

SCRIPT = """"use strict";
const at = (id) => document.getElementById(id);
const percent = (share) => (share * 100).toFixed(2) + " %";
let last = -1;
function draw(histogram) {
  const canvas = at("histogram"), pen = canvas.getContext("2d");
  const step = canvas.width / histogram.length, most = Math.max(...histogram, 0.001);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = "#246";
  histogram.forEach((share, bin) => {
    const high = canvas.height * share / most;
    pen.fillRect(bin * step, canvas.height - high, step - 1, high);
  });
}
async function look() {
  try {
    const seen = await (await fetch("/numbers", {cache: "no-store"})).json();
    at("trouble").textContent = seen.trouble;
    at("refused").textContent = seen.refused;
    if (seen.histogram) {
      at("focus").textContent = seen.focus.toFixed(1);
      at("best").textContent = seen.best.toFixed(1);
      at("mean").textContent = seen.mean.toFixed(1);
      at("bright").textContent = percent(seen.bright);
      at("dark").textContent = percent(seen.dark);
      at("share").value = seen.best ? seen.focus / seen.best : 0;
      draw(seen.histogram);
      if (last >= 0 && seen.frame !== last && !at("picture").naturalWidth) {
        at("picture").src = "/stream?" + Date.now();
      }
      last = seen.frame;
    }
  } catch (error) {
    at("trouble").textContent = document.body.dataset.stopped;
  }
  setTimeout(look, 250);
}
look();
"""
