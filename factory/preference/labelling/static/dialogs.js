// The three dialogs: the keys, the reasons to skip, the guidelines.

import { make } from "./item.js";

const REASONS = [
  "I do not know enough to judge",
  "The prompt makes no sense",
  "The answers say the same",
  "A language I do not read",
  "Private or offensive content",
];

function open(label, ...inside) {
  const close = make("button", { type: "button", class: "quiet", "aria-label": "Close" }, "Close");
  const head = make("header", {}, make("h2", { id: "dialog-title" }, label), close);
  const dialog = make("dialog", { "aria-labelledby": "dialog-title" }, head, ...inside);
  const before = document.activeElement;
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function showKeys(rows) {
  const table = make("table", { class: "keys" }, make("tbody", {}, ...rows.map(([written, what]) =>
    make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, written)), make("td", {}, what)))));
  const dialog = open("Keys", table,
    make("p", { class: "hint" }, "Esc closes a field or a window. Keys do nothing while you are writing."));
  dialog.addEventListener("keydown", (event) => { if (event.key === "?") dialog.close(); });
}

export function showGuidelines(html) {
  const body = make("div", { class: "text" });
  body.innerHTML = html; // made safe by the server, as the answers are
  open("Guidelines", body);
}

// Calls skip(reason) once, when the person has given one.
export function askReason(skip) {
  const field = make("input", { type: "text", id: "reason", maxlength: 500, dir: "auto", autocomplete: "off" });
  const send = make("button", { type: "button", class: "plainly" }, "Skip");
  const say = (reason) => {
    if (!reason.trim()) return field.focus();
    dialog.close();
    skip(reason.trim());
  };
  const buttons = REASONS.map((reason, n) => {
    const button = make("button", { type: "button", class: "reason" }, make("kbd", {}, String(n + 1)), reason);
    button.addEventListener("click", () => say(reason));
    return button;
  });
  const dialog = open("Why skip this one?", make("div", { class: "reasons" }, ...buttons),
    make("div", { class: "row" }, make("label", { for: "reason" }, "Other"), field, send));
  send.addEventListener("click", () => say(field.value));
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target === field) {
      if (event.key === "Enter") say(field.value);
      return;
    }
    const reason = REASONS[Number(event.key) - 1];
    if (event.key.trim() && reason) {
      event.preventDefault();
      say(reason);
    }
  });
  buttons[0].focus();
}
