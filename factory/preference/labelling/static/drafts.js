// What a person has typed or placed but not yet voted, per view, so that a reload or an undo does not lose it.

const PREFIX = "factory:draft:";
const memory = new Map();

// {note, edits: {place as shown: text}, edited: the place edited last, places: [place or null per answer]}
export function draftOf(item) {
  if (memory.has(item.view)) return memory.get(item.view);
  let draft = null;
  try { draft = JSON.parse(sessionStorage.getItem(PREFIX + item.view)); } catch { /* then a new one */ }
  draft ??= fresh(item);
  memory.set(item.view, draft);
  return draft;
}

export function save(item) {
  try { sessionStorage.setItem(PREFIX + item.view, JSON.stringify(memory.get(item.view))); } catch { /* in memory */ }
}

export function forget(item) {
  memory.delete(item.view);
  try { sessionStorage.removeItem(PREFIX + item.view); } catch { /* was never there */ }
}

function fresh(item) {
  const said = item.vote ?? {};
  const draft = { note: said.note ?? "", edits: {}, edited: null, places: item.answers.map(() => null) };
  if (said.edit) {
    draft.edits[said.edit.answer] = said.edit.text;
    draft.edited = said.edit.answer;
  }
  (said.ranking ?? []).forEach((group, index, all) => {
    const place = 1 + all.slice(0, index).flat().length; // 1, 1, 3: who ties for the first leaves no second
    for (const answer of [group].flat()) draft.places[answer] = place;
  });
  return draft;
}

// The edit that goes with a vote: that of the answer found better, else the one made last.
export function editFor(item, draft, better) {
  const changed = (answer) => draft.edits[answer]?.trim() && draft.edits[answer] !== item.answers[answer].text;
  const answer = better !== null && changed(better) ? better : draft.edited;
  return answer !== null && changed(answer) ? { answer: Number(answer), text: draft.edits[answer] } : null;
}
