// The bar under the answers: what may be said of them, by mouse or thumb.

import { LETTERS, make } from "./item.js";
import { makeDraggable } from "./drag.js";

const SCALE = [
  ["1", "A", "much better", "A is much better"],
  ["2", "A", "better", "A is better"],
  ["3", "=", "about equal", "About equal"],
  ["4", "B", "better", "B is better"],
  ["5", "B", "much better", "B is much better"],
];
const SAID = {
  1: "A is much better", 2: "A is better", 3: "about equal", 4: "B is better", 5: "B is much better",
  both_good: "both are good", both_bad: "both are bad", skip: "skipped", rank: "a ranking",
};

export const inWords = (choice) => SAID[choice] ?? choice;

// [key, what it says, action, argument]
const others = (mode) => [
  ...(mode === "pair" ? [["g", "Both good", "choose", "both_good"], ["b", "Both bad", "choose", "both_bad"]] : []),
  ["s", "Skip", "skip"],
  ["n", "Note", "note"],
  ["u", "Undo", "undo"],
];

export function buildBar(choices, others_, mode, act) {
  const button = (cls, key, action, argument, ...inside) => {
    const node = make("button", { type: "button", class: cls, "data-choice": argument, "data-action": action },
      make("kbd", { "aria-hidden": "true" }, key), ...inside);
    node.addEventListener("click", () => act(action, argument));
    return node;
  };
  choices.className = `choices ${mode}`;
  choices.replaceChildren(...(mode !== "pair" ? [] : SCALE.map(([key, letter, words, whole]) => {
    const node = button("choice", key, "choose", key, make("b", {}, letter), make("span", {}, words));
    node.setAttribute("aria-label", whole);
    return node;
  })));
  others_.replaceChildren(...others(mode).map(([key, words, action, argument]) =>
    button("other", key, action, argument, words)));
}

export function press(root, choice) {
  for (const button of root.querySelectorAll("[data-choice]")) {
    const pressed = choice !== null && button.dataset.choice === String(choice);
    button.classList.toggle("pressed", pressed);
    if (pressed) button.setAttribute("aria-pressed", "true");
    else button.removeAttribute("aria-pressed");
  }
}

const nth = (n) => `${n}${{ 1: "st", 2: "nd", 3: "rd" }[n] ?? "th"}`;

// The ranking as a strip of places with the letters in them; letters are dragged or tapped, and saved with one button.
// act("put", {answer, place}), act("mark", answer), act("rank").
export function showPlaces(choices, places, marked, act) {
  const focused = document.activeElement?.closest?.("#choices [data-letter]")?.dataset.letter;
  const chip = (answer) => {
    const node = make("button", { type: "button", class: "chip", "data-letter": answer,
      "aria-label": `Answer ${LETTERS[answer]}, ${places[answer] === null ? "no place yet" : `${nth(places[answer])} place`}` },
    LETTERS[answer]);
    node.classList.toggle("marked", answer === marked);
    makeDraggable(node, (place) => act("put", { answer, place }), () => act("mark", answer));
    return node;
  };
  const within = (place) => places.flatMap((at, answer) => (at === place ? [chip(answer)] : []));
  const slot = (place, label) => make("div", { class: place === null ? "slot open" : "slot", "data-place": place ?? "" },
    make("span", { class: "label" }, label), ...within(place));
  const done = make("button", { type: "button", class: "plainly", disabled: places.includes(null) },
    make("kbd", { "aria-hidden": "true" }, "↵"), "Save");
  done.addEventListener("click", () => act("rank"));
  const slots = places.map((_, n) => slot(n + 1, nth(n + 1)));
  const tray = places.includes(null) ? [slot(null, "open")] : [];
  choices.replaceChildren(make("div", { class: "strip" }, ...tray, ...slots), done);
  if (focused !== undefined) choices.querySelector(`[data-letter="${focused}"]`)?.focus({ preventScroll: true });
}

// The same places on the cards, as buttons of a size for thumbs.
export function showPlaceOf(card, answer, places, marked, act) {
  card.classList.toggle("marked", answer === marked);
  let row = card.querySelector(".places");
  if (!row) {
    row = make("div", { class: "places", role: "group", "aria-label": `Place of answer ${LETTERS[answer]}` });
    row.append(...places.map((_, n) => {
      const button = make("button", { type: "button", class: "place", "aria-label": `${nth(n + 1)} place` }, String(n + 1));
      button.addEventListener("click", () =>
        act("put", { answer, place: button.getAttribute("aria-pressed") === "true" ? null : n + 1 }));
      return button;
    }));
    card.append(row);
  }
  [...row.children].forEach((button, n) => button.setAttribute("aria-pressed", String(places[answer] === n + 1)));
}
