// The screen on which people compare: shows one item, hears what they say of it, and shows the next.

import { buildBar, inWords, press, showPlaceOf, showPlaces } from "./bar.js";
import { restart, seconds } from "./clock.js";
import { askReason, showGuidelines, showKeys } from "./dialogs.js";
import * as drafts from "./drafts.js";
import * as screen from "./item.js";
import { cheatsheet, listen } from "./keys.js";
import { get, persist, post, Refused, Unreachable, unsent } from "./post.js";
import * as ranking from "./ranking.js";

const byId = (id) => document.getElementById(id);
const page = document.body;

let item = null; // what is shown, as the server sent it; null before the first and at the end
let draft = null; // what has been typed or placed for it
let busy = true; // a request flies: nothing else may be said meanwhile
let marked = 0; // the answer that the keys mean
let differing = false;

const mode = () => (item ? item.mode : page.dataset.state === "end" ? "end" : "none");

function say(sentence, shown = true) {
  byId("said").textContent = shown ? sentence : "";
  byId("live").textContent = sentence;
}

function alarm(sentence) {
  byId("alarm").hidden = sentence === null;
  byId("alarm").textContent = sentence ?? "";
}

function state(name) {
  page.dataset.state = name;
  busy = name === "busy" || name === "loading" || name === "stopped";
}

function show(reply, sentence = "") {
  const { done, total, mine } = reply.progress;
  byId("progress").max = Math.max(total, 1);
  byId("progress").value = done;
  byId("count").textContent = `${done} of ${total}`;
  byId("count").title = `${mine} by you`;
  item = reply.done ? null : reply;
  page.dataset.view = item?.view ?? "";
  byId("bar").hidden = byId("answers").hidden = byId("prompt").hidden = !item;
  byId("end").hidden = Boolean(item);
  byId("noting").hidden = true;
  if (item) showItem(sentence);
  else showEnd(reply.progress, sentence);
  scrollTo(0, 0);
  byId("main").focus({ preventScroll: true });
}

function showItem(sentence) {
  draft = drafts.draftOf(item);
  byId("title").textContent = item.title ?? "";
  document.title = item.title ? `${item.title}: compare` : "Compare answers";
  byId("question").textContent = item.mode === "rank" ? "Put the answers in order" : "Which answer is better?";
  byId("guidelines").hidden = !item.guidelines_html;
  byId("diff").hidden = item.answers.length !== 2;
  buildBar(byId("choices"), byId("others"), item.mode, act);
  screen.showPrompt(byId("prompt"), byId("more"), item.prompt);
  screen.showAnswers(byId("answers"), item, edit);
  item.answers.forEach((answer, n) => screen.showEdited(screen.cardOf(byId("answers"), n), answer.text, draft.edits[n]));
  marked = item.mode === "rank" ? Math.max(draft.places.indexOf(null), 0) : 0;
  if (item.mode === "rank") showRanking();
  press(byId("bar"), item.vote?.choice ?? null);
  byId("note").value = draft.note;
  showNote();
  state("ready");
  restart();
  say(sentence, sentence !== "");
  if (!sentence) byId("live").textContent = `Item ${byId("count").textContent}`;
  if (differing) showDifferences();
}

function showEnd(progress, sentence) {
  const again = screen.make("button", { type: "button", class: "plainly" }, "Look for more");
  const undo = screen.make("button", { type: "button", class: "quiet" }, "Undo the last vote");
  again.addEventListener("click", () => act("again"));
  undo.addEventListener("click", () => act("undo"));
  byId("more").hidden = byId("diff").hidden = byId("guidelines").hidden = true;
  byId("end").replaceChildren(
    screen.make("h2", {}, "Nothing is left for you"),
    screen.make("p", {}, `You have judged ${progress.mine}; ${progress.done} of ${progress.total} are done. Thank you.`),
    screen.make("p", { class: "row" }, again, undo));
  state("end");
  say(sentence || "Nothing is left for you.", false);
}

// A refusal that ends everything here: the link is no longer good.
function stop(sentence) {
  state("stopped");
  item = null;
  byId("bar").hidden = byId("answers").hidden = byId("prompt").hidden = true;
  byId("more").hidden = true;
  alarm(sentence);
}

const trouble = (kept) => (sentence) =>
  alarm(sentence === null ? null : `${sentence} ${kept ? "Your vote is kept here and sent again until it is back." : "Trying again."}`);

async function next(sentence = "") {
  try {
    const reply = await persist("/api/next", undefined, trouble(false));
    const kept = reply.name ? unsent.read(reply.name) : null;
    if (kept) await send(reply.name, kept, "A vote kept from before has been saved.");
    else show(reply, sentence);
  } catch (error) {
    refused(error);
  }
}

function refused(error) {
  if (!(error instanceof Refused)) throw error;
  if (error.status === 401) stop(error.message || "This link is no longer good; ask for a new one.");
  else {
    state(item ? "ready" : "stopped");
    if (item) press(byId("bar"), item.vote?.choice ?? null);
    alarm(error.message);
  }
}

// The vote is kept until the server has it; its answer is the next item.
async function send(name, vote, sentence = "") {
  state("busy");
  unsent.keep(name, vote);
  try {
    const reply = await persist("/api/vote", vote, trouble(true));
    unsent.forget(name);
    drafts.forget(vote);
    alarm(null);
    show(reply.next, sentence);
  } catch (error) {
    if (!(error instanceof Refused) || error.status === 401) return refused(error);
    unsent.forget(name);
    alarm(error.message);
    // Already there, or somebody else's: what is to be done now is what the server says is next.
    if (!item || error.status === 403 || error.status === 409) return next();
    refused(error);
  }
}

function vote(choice, better, more = {}) {
  press(byId("bar"), choice);
  const body = { view: item.view, choice, seconds: seconds(), ...more };
  if (draft.note.trim()) body.note = draft.note.trim();
  const edited = choice === "skip" ? null : drafts.editFor(item, draft, better);
  if (edited) body.edit = edited;
  return send(item.name, body);
}

function save() { drafts.save(item); }

function edit(n) {
  mark(n);
  const original = item.answers[n].text;
  screen.openEditor(screen.cardOf(byId("answers"), n), original, draft.edits[n], (text) => {
    draft.edits[n] = text;
    draft.edited = n;
    save();
  }, save);
}

function mark(n) {
  marked = n;
  if (item.mode === "rank") showRanking();
}

function walk(by) {
  const last = item.answers.length - 1;
  // Of two answers the arrows name one; of several they go on from the marked one.
  const to = item.mode === "pair" ? by * last : marked + by;
  mark(Math.min(Math.max(to, 0), last));
  screen.cardOf(byId("answers"), marked).focus({ preventScroll: true });
  reveal(marked);
}

function reveal(n) {
  screen.cardOf(byId("answers"), n).scrollIntoView({ block: "nearest", behavior: "auto" });
}

function showRanking() {
  showPlaces(byId("choices"), draft.places, marked, act);
  item.answers.forEach((_, n) => showPlaceOf(screen.cardOf(byId("answers"), n), n, draft.places, marked, act));
}

function place(places, next_) {
  draft.places = places;
  save();
  mark(next_);
  byId("live").textContent = places.map((at, n) => `${screen.LETTERS[n]} ${at ?? "open"}`).join(", ");
}

function showNote() {
  const button = byId("others").querySelector('[data-action="note"]');
  button?.classList.toggle("pressed", draft.note.trim() !== "");
}

function closeNote() {
  byId("noting").hidden = true;
  byId("main").focus({ preventScroll: true });
}

async function showDifferences() {
  const asked = item;
  try {
    const { rows } = await post("/api/diff", { view: asked.view });
    if (item === asked && differing) screen.showDiff(byId("answers"), rows);
  } catch (error) {
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    say(error.message);
  }
}

const ACTIONS = {
  choose: (choice) => vote(choice, { 1: 0, 2: 0, 4: 1, 5: 1 }[choice] ?? null),
  rank() {
    if (!ranking.complete(draft.places)) return say("Every answer needs a place first.");
    const sent = ranking.asSent(draft.places);
    return vote("rank", [sent[0]].flat()[0], { ranking: sent });
  },
  skip: () => askReason((reason) => { if (!busy) vote("skip", null, { reason }); }),
  async undo() {
    const before = page.dataset.state;
    state("busy");
    try {
      const reply = await post("/api/undo", {});
      alarm(null);
      show(reply, reply.vote ? `Taken back; you had said: ${inWords(reply.vote.choice)}.` : "Taken back.");
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
      if (error.status === 401) return refused(error);
      state(before);
      say(error.message, Boolean(item));
    }
  },
  edit: () => edit(marked),
  note() {
    byId("noting").hidden = false;
    byId("note").focus();
  },
  diff() {
    if (item.answers.length !== 2) return;
    differing = !differing;
    byId("diff").setAttribute("aria-pressed", String(differing));
    if (differing) showDifferences();
    else screen.hideDiff(byId("answers"));
  },
  more() {
    if (!byId("more").hidden) screen.fold(byId("prompt"), byId("more"), byId("prompt").classList.contains("folded"));
  },
  walk,
  mark(n) { mark(n); reveal(n); },
  assign(at) {
    if (at > draft.places.length) return;
    const places = ranking.assign(draft.places, marked, at);
    place(places, at === null ? marked : ranking.nextOpen(places, marked));
    reveal(marked);
  },
  put: ({ answer, place: at }) => place(ranking.assign(draft.places, answer, at), answer),
  shift: (by) => place(ranking.shift(draft.places, marked, by), marked),
  clear: () => place(draft.places.map(() => null), 0),
  again() { state("busy"); return next(); },
  help: () => showKeys(cheatsheet(mode(), item?.answers.length ?? 2)),
  guidelines: () => showGuidelines(item.guidelines_html),
};

function act(action, argument) {
  if (action === "help") return ACTIONS.help();
  if (busy) return undefined;
  if (!item && action !== "undo" && action !== "again") return undefined;
  return ACTIONS[action](argument);
}

// A mouse leaves the focus where it is: Enter then saves, instead of pressing the last button again.
document.addEventListener("mousedown", (event) => { if (event.target.closest("button")) event.preventDefault(); });
byId("help").addEventListener("click", () => act("help"));
byId("diff").addEventListener("click", () => act("diff"));
byId("more").addEventListener("click", () => act("more"));
byId("guidelines").addEventListener("click", () => act("guidelines"));
byId("noted").addEventListener("click", closeNote);
byId("note").addEventListener("input", () => { draft.note = byId("note").value; save(); showNote(); });
byId("note").addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "Escape") { event.preventDefault(); closeNote(); }
});
byId("answers").addEventListener("focusin", (event) => {
  const card = event.target.closest("[data-answer]");
  if (card && item && Number(card.dataset.answer) !== marked) mark(Number(card.dataset.answer));
});
listen(mode, act);
next();
