// The places of K answers: given one at a time, shared for ties, sent best first.

// Everyone has a place: then the ranking may be saved.
export const complete = (places) => places.every((place) => place !== null);

// As the server reads it: answers as shown, best first, ties as lists.
export function asSent(places) {
  const groups = new Map();
  places.forEach((place, answer) => groups.set(place, [...(groups.get(place) ?? []), answer]));
  return [...groups.keys()].sort((a, b) => a - b).map((place) => {
    const group = groups.get(place);
    return group.length === 1 ? group[0] : group;
  });
}

export function assign(places, answer, place) {
  return places.map((old, n) => (n === answer ? place : old));
}

// One place up or down. Who leaves a place empty changes with the one who stands alone on the other, so that a finished
// ranking stays one; who leaves a tie joins.
export function shift(places, answer, by) {
  const from = places[answer];
  if (from === null) return assign(places, answer, by < 0 ? 1 : places.length);
  const to = Math.min(Math.max(from + by, 1), places.length);
  const there = places.flatMap((place, n) => (place === to && n !== answer ? [n] : []));
  const moved = assign(places, answer, to);
  const tied = places.filter((place) => place === from).length > 1;
  return there.length === 1 && !tied ? assign(moved, there[0], from) : moved;
}

// The answer to look at next: the first one after `answer` that has no place yet, else the same.
export function nextOpen(places, answer) {
  for (let step = 1; step < places.length; step++) {
    const n = (answer + step) % places.length;
    if (places[n] === null) return n;
  }
  return answer;
}
