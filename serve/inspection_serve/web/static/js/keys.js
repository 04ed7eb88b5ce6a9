// Keys of the review: actions by place on the keyboard, in Hangul as in English; scanners; rebinding.
//
//   keydown ─▶ code (event.code, else event.key with jamo, else keyup) ─▶ held for GAP ─▶ action
//                                                    └─▶ another key within GAP: a scanner; Enter ends it
const GAP = 30; // milliseconds between two characters of a scanner, at most
const LEAST = 4; // characters of a scanned text
const SLOW = 300; // milliseconds between two characters of a scanner that is set too slow
const LETTERS = {
  "ㅂ": "Q", "ㅃ": "Q", "ㅈ": "W", "ㅉ": "W", "ㄷ": "E", "ㄸ": "E", "ㄱ": "R", "ㄲ": "R", "ㅅ": "T", "ㅆ": "T",
  "ㅛ": "Y", "ㅕ": "U", "ㅑ": "I", "ㅐ": "O", "ㅒ": "O", "ㅔ": "P", "ㅖ": "P", "ㅁ": "A", "ㄴ": "S", "ㅇ": "D",
  "ㄹ": "F", "ㅎ": "G", "ㅗ": "H", "ㅓ": "J", "ㅏ": "K", "ㅣ": "L", "ㅋ": "Z", "ㅌ": "X", "ㅊ": "C", "ㅍ": "V",
  "ㅠ": "B", "ㅜ": "N", "ㅡ": "M",
};
const SIGNS = { "+": "Equal", "=": "Equal", "-": "Minus", " ": "Space", ",": "Comma", ".": "Period" };
const NUMPAD = { NumpadAdd: "Equal", NumpadSubtract: "Minus", NumpadEnter: "Enter", NumpadDecimal: "Period" };
const NAMES = { Equal: "+", Minus: "−", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Comma: ",", Period: "." };
export const FUNCTION_KEYS = { F8: "confirm", F9: "overrule" };

// What a person reads on the key.
export const keyName = (code) => NAMES[code] ?? code.replace(/^(Key|Digit)/, "");

// The place of the key; "" when this event does not tell.
export function codeOf(event) {
  const code = event.code && event.code !== "Unidentified" ? event.code : "";
  if (/^Numpad\d$/.test(code)) return `Digit${code.at(-1)}`;
  if (code) return NUMPAD[code] ?? code;
  const key = event.key ?? "";
  if (LETTERS[key]) return `Key${LETTERS[key]}`;
  if (/^[a-z]$/i.test(key)) return `Key${key.toUpperCase()}`;
  if (/^\d$/.test(key)) return `Digit${key}`;
  if (SIGNS[key]) return SIGNS[key];
  return ["Process", "Unidentified", "Dead", ""].includes(key) ? "" : key;
}

// The character that a scanner meant, whatever the input method made of it.
function characterOf(event, code) {
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  if (letter) return event.shiftKey || /^[A-Z]$/.test(event.key) ? letter : letter.toLowerCase();
  const digit = /^Digit(\d)$/.exec(code)?.[1];
  if (digit && !event.shiftKey) return digit;
  return event.key?.length === 1 ? event.key : { Minus: "-", Period: "." }[code] ?? "";
}

const isTyping = (target) =>
  target instanceof Element && target.closest("input, textarea, select, [contenteditable='true']") !== null;

export class Keys {
  // onKey(code, event): a key was pressed by hand. onScan(text): a scanner has read something. onSlow(text): keys
  // that were taken as pressed by hand may have been a scanner's. onTyped(text): a scanner has read something while
  // a field with data-no-scan was typed in; the field is as before.
  constructor({ onKey, onScan, onSlow = () => {}, onTyped = () => {} }) {
    Object.assign(this, { onKey, onScan, onSlow, onTyped });
    this.slow = ""; // characters one soon after the other, ended by Enter
    this.slowAt = 0;
    this.typed = null; // {text, before, at}: characters in a field that may be a scanner's
    this.held = null; // {code, event, timer}: a key that may be the first of a scan
    this.burst = "";
    this.burstTimer = 0;
    this.last = 0;
    this.unknown = false; // an input method swallowed the code; keyup may tell it
    document.addEventListener("keydown", (event) => this.#down(event));
    document.addEventListener("keyup", (event) => this.#up(event));
  }

  #down(event) {
    if (isTyping(event.target)) return this.#type(event);
    if (event.altKey || event.metaKey) return;
    const code = codeOf(event);
    if (event.ctrlKey) {
      if (code === "KeyZ" && !event.repeat) {
        event.preventDefault();
        this.onKey("Undo", event);
      }
      return;
    }
    if (["ShiftLeft", "ShiftRight", "Shift", "CapsLock", "Lang1", "Lang2"].includes(code)) return;
    this.unknown = code === "" && (event.keyCode === 229 || event.key === "Process");
    if (code) this.#press(code, event);
  }

  // Typing is left alone, but a scan in a field that wants none is taken out again.
  #type(event) {
    if (!event.target.matches("[data-no-scan]") || event.ctrlKey || event.altKey || event.metaKey) return;
    const code = codeOf(event);
    const character = characterOf(event, code);
    const fast = this.typed && event.timeStamp - this.typed.at <= GAP;
    if (code === "Enter" && fast && this.typed.text.length >= LEAST) {
      event.preventDefault();
      event.target.value = this.typed.before;
      this.onTyped(this.typed.text);
      this.typed = null;
    } else if (character) {
      const { text, before } = fast ? this.typed : { text: "", before: event.target.value };
      this.typed = { text: text + character, before, at: event.timeStamp };
    }
  }

  // Nothing is held back for it: keys that had to be taken as pressed by hand are only told to look like a scan.
  #suspect(character, code, event) {
    const soon = event.timeStamp - this.slowAt <= SLOW;
    if (code === "Enter") {
      if (soon && this.slow.length >= LEAST) this.onSlow(this.slow);
      this.slow = "";
    } else if (character && !event.repeat) {
      this.slow = (soon ? this.slow : "") + character;
      this.slowAt = event.timeStamp;
    }
  }

  // Some input methods tell the place of the key only when it is let go.
  #up(event) {
    const code = codeOf(event);
    if (this.unknown && code && !isTyping(event.target)) {
      this.unknown = false;
      this.#press(code, event);
    }
  }

  #press(code, event) {
    const character = characterOf(event, code);
    const now = event.timeStamp;
    const fast = now - this.last <= GAP && !event.repeat;
    if (character || code === "Enter") this.last = now;
    if (this.burst && code === "Enter") {
      event.preventDefault();
      this.slow = "";
      return this.#end(true);
    }
    this.#suspect(character, code, event);
    if (character && fast && (this.held || this.burst)) {
      event.preventDefault();
      this.burst = (this.burst || this.held.character) + character;
      clearTimeout(this.held?.timer);
      this.held = null;
      clearTimeout(this.burstTimer);
      this.burstTimer = setTimeout(() => this.#end(false), 4 * GAP);
      return undefined;
    }
    if (event.repeat) {
      if (character === " ") event.preventDefault();
      return undefined;
    }
    this.#release();
    const onControl = event.target instanceof Element && event.target.closest("button, a, summary, [role='button']");
    if (onControl && (code === "Space" || code === "Enter")) return undefined; // the browser presses it
    if (!character) return this.onKey(code, event);
    if (code === "Space") event.preventDefault();
    this.held = { code, event, character, timer: setTimeout(() => this.#release(), GAP) };
    return undefined;
  }

  #release() {
    if (!this.held) return;
    const { code, event, timer } = this.held;
    clearTimeout(timer);
    this.held = null;
    this.onKey(code, event);
  }

  #end(whole) {
    const text = this.burst;
    this.burst = "";
    clearTimeout(this.burstTimer);
    if (whole && text.length >= LEAST) this.onScan(text);
  }
}
