// How long a person looks at an item: from its first paint, not counting the time in which the page is hidden.

let spent = 0; // milliseconds until the last pause
let since = null; // when the present stretch began; null while hidden or not painted
let painted = false;
let turn = 0;

const visible = () => document.visibilityState === "visible";

export function restart() {
  const mine = ++turn;
  spent = 0;
  since = null;
  painted = false;
  // The second frame begins when the first has been painted; neither comes while the page is hidden.
  requestAnimationFrame(() => requestAnimationFrame(() => {
    if (mine !== turn) return;
    painted = true;
    performance.mark("painted"); // what the tests measure, too
    if (visible()) since = performance.now();
  }));
}

export function seconds() {
  const running = since === null ? 0 : performance.now() - since;
  return Math.round((spent + running) / 10) / 100;
}

document.addEventListener("visibilitychange", () => {
  if (!painted) return;
  if (visible()) since ??= performance.now();
  else if (since !== null) {
    spent += performance.now() - since;
    since = null;
  }
});
