// The keys: one table, from which the page listens and the cheatsheet is written.

// [keys, how they are written, what they do, action, argument]; "mode" limits an entry to one kind of item.
const PAIR = [
  [["1"], "1", "A is much better", "choose", "1"],
  [["2"], "2", "A is better", "choose", "2"],
  [["3"], "3", "about equal", "choose", "3"],
  [["4"], "4", "B is better", "choose", "4"],
  [["5"], "5", "B is much better", "choose", "5"],
  [["g"], "g", "both are good", "choose", "both_good"],
  [["b"], "b", "both are bad", "choose", "both_bad"],
  [["ArrowLeft"], "←", "go to answer A", "walk", -1],
  [["ArrowRight"], "→", "go to answer B", "walk", 1],
  [["d"], "d", "show where the answers differ", "diff"],
];
const RANK = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => [[String(n)], String(n), `place ${n} for the marked answer`, "assign", n]),
  [["0", "Backspace"], "0", "no place for the marked answer", "assign", null],
  [["ArrowLeft"], "←", "mark the answer before", "walk", -1],
  [["ArrowRight"], "→", "mark the answer after", "walk", 1],
  [["ArrowUp"], "↑", "one place better", "shift", -1],
  [["ArrowDown"], "↓", "one place worse", "shift", 1],
  [["r"], "r", "begin the ranking anew", "clear"],
  [["Enter"], "Enter", "save the ranking and go on", "rank"],
];
const BOTH = [
  [["s"], "s", "skip, with a reason", "skip"],
  [["u"], "u", "undo, as often as you like", "undo"],
  [["e"], "e", "edit the answer you are at", "edit"],
  [["n"], "n", "write a note", "note"],
  [["p"], "p", "show the whole prompt", "more"],
  [["?"], "?", "these keys", "help"],
];
const END = [
  [["u"], "u", "undo the last vote", "undo"],
  [["Enter"], "Enter", "look for more", "again"],
  [["?"], "?", "these keys", "help"],
];

export function keysFor(mode) {
  if (mode === "pair") return [...PAIR, ...BOTH];
  return mode === "rank" ? [...RANK, ...BOTH] : END;
}

// For the cheatsheet: [written, what], the nine places of a ranking in one line.
export function cheatsheet(mode, answers) {
  const rows = keysFor(mode).map(([, written, what]) => [written, what]);
  if (mode !== "rank") return rows;
  return [[`1 – ${Math.min(answers, 9)}`, "place of the marked answer; two may share one"], ...rows.slice(9)];
}

const WRITING = "input, textarea, select, [contenteditable]";

// Calls act(action, argument) for a key that means something now; `mode()` says what is on the screen.
export function listen(mode, act) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.(WRITING) || document.querySelector("dialog[open]")) return;
    // On a button or link Enter means that button; the page's other keys still hold.
    if (event.key === "Enter" && event.target.closest?.("button, a, summary")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const found = keysFor(mode()).find(([keys]) => keys.includes(key));
    if (!found) return;
    const scrolls = key === "ArrowLeft" || key === "ArrowRight";
    if (scrolls && event.target.closest?.("pre, .table, math")) return;
    event.preventDefault();
    // A key held down is one press: nobody votes on the next item by a slow finger.
    if (!event.repeat || found[3] === "walk") act(found[3], found[4]);
  });
}
