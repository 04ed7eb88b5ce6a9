// Texts of the modules in the language of the page: the English text is the key, with `{name}` places.
const texts = JSON.parse(document.getElementById("texts").textContent);

export const language = document.documentElement.lang;

export function _(message, values = {}) {
  const found = texts[message] ?? message;
  return found.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}
