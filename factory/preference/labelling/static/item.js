// What is on the screen of an item: the prompt's turns and the answers. Only `html` from the server, made safe there,
// is ever read as HTML; everything else goes in as text.

export const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ROLES = { user: "Prompt", system: "System", assistant: "Assistant", tool: "Tool" };

export function make(tag, attributes = {}, ...inside) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...inside);
  return node;
}

function text(html, dir) {
  const body = make("div", { class: "text", dir: ["ltr", "rtl"].includes(dir) ? dir : "auto" });
  body.innerHTML = html;
  // What is wider than the screen scrolls in itself, and must then be reachable by keyboard.
  for (const wide of body.querySelectorAll("pre, .table, math[display=block]")) {
    const code = wide.tagName === "PRE";
    if (wide.localName !== "math") wide.setAttribute("role", "region");
    if (wide.localName !== "math") wide.setAttribute("aria-label", code ? "Code" : "Table");
    wide.tabIndex = 0;
    if (code) wide.dir = "ltr";
  }
  return body;
}

export function showPrompt(section, more, turns) {
  const several = turns.length > 1;
  section.replaceChildren(...turns.map((turn) => make("div", { class: `turn ${ROLES[turn.role] ? turn.role : "user"}` },
    make("p", { class: "role" }, several && turn.role === "user" ? "User" : ROLES[turn.role] ?? turn.role),
    text(turn.html, turn.dir))));
  fold(section, more, false);
  more.hidden = section.scrollHeight <= section.clientHeight + 40;
  if (more.hidden) fold(section, more, true);
}

export function fold(section, more, open) {
  section.classList.toggle("folded", !open);
  more.setAttribute("aria-expanded", String(open));
  more.textContent = open ? "Show less of the prompt" : "Show the whole prompt";
  // Of a long conversation the last turn is what the answers answer.
  const last = section.lastElementChild;
  section.scrollTop = open || !last ? 0 : last.offsetTop - 24;
  section.classList.toggle("later", section.scrollTop > 0);
  section.classList.toggle("ended", section.scrollTop > 0 && section.scrollTop + section.clientHeight >= section.scrollHeight - 1);
}

export function showAnswers(box, item, edit) {
  box.className = `answers ${item.mode}`;
  box.replaceChildren(...item.answers.map((answer, n) => {
    const name = make("h2", { id: `answer-${n}` }, make("span", { class: "unseen" }, "Answer "), LETTERS[n]);
    const pencil = make("button", { type: "button", class: "quiet pencil", "aria-label": `Edit answer ${LETTERS[n]}` }, "Edit");
    pencil.addEventListener("click", () => edit(n));
    const card = make("article", { class: "answer", tabindex: -1, "aria-labelledby": `answer-${n}`, "data-answer": n },
      make("header", {}, name, make("span", { class: "mark" }), pencil), text(answer.html, answer.dir));
    return card;
  }));
}

export const cardOf = (box, n) => box.querySelector(`[data-answer="${n}"]`);

// An answer's text in a field over the card; `changed(text)` after every stroke, `done()` when the person leaves it.
export function openEditor(card, original, draft, changed, done) {
  if (card.querySelector("textarea")) return card.querySelector("textarea").focus();
  const letter = LETTERS[card.dataset.answer];
  const field = make("textarea", { "aria-label": `Text of answer ${letter}`, dir: "auto", spellcheck: "true" });
  field.value = draft ?? original;
  const close = make("button", { type: "button", class: "quiet" }, "Done");
  const restore = make("button", { type: "button", class: "quiet" }, "Restore");
  const editor = make("div", { class: "editor" }, field, make("div", { class: "row" },
    make("p", { class: "hint" }, "Saved with the vote"), restore, close));
  const leave = () => {
    editor.remove();
    card.classList.remove("editing");
    showEdited(card, original, field.value);
    card.focus();
    done();
  };
  field.addEventListener("input", () => changed(field.value));
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && !(event.key === "Enter" && (event.ctrlKey || event.metaKey))) return;
    event.preventDefault();
    leave();
  });
  close.addEventListener("click", leave);
  restore.addEventListener("click", () => {
    field.value = original;
    changed(original);
    leave();
  });
  card.classList.add("editing");
  card.append(editor);
  field.focus();
  field.setSelectionRange(0, 0);
  field.scrollTop = 0;
}

// The card shows the edited text as plain text: making HTML of it is the server's business.
export function showEdited(card, original, draft) {
  const edited = Boolean(draft?.trim()) && draft !== original;
  card.querySelector(".plain")?.remove();
  card.classList.toggle("edited", edited);
  if (edited) card.append(make("div", { class: "plain", dir: "auto" }, draft));
}

// rows: [operation, words of A, words of B]; what only one of them says is marked in it.
export function showDiff(box, rows) {
  for (const side of [0, 1]) {
    const words = make("div", { class: "diffed", dir: "auto" });
    for (const row of rows) {
      if (!row[side + 1]) continue;
      words.append(row[0] === "equal" ? row[side + 1] : make("mark", {}, row[side + 1]));
    }
    const card = cardOf(box, side);
    card.querySelector(".diffed")?.remove();
    card.append(words);
  }
  box.classList.add("differing");
}

export function hideDiff(box) {
  box.classList.remove("differing");
  for (const words of box.querySelectorAll(".diffed")) words.remove();
}
