// Talking to the server. A vote is kept in the browser until the server has answered it, and sent again until then:
// the server takes a second vote on one view as the first, so nothing is lost and nothing counts twice.

const WAITS = [500, 1000, 2000, 4000]; // milliseconds before trying again; then the last one each time
const LONGEST = 20000; // a request that takes longer is given up and tried again

export class Refused extends Error { // the server understood and said no
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export class Unreachable extends Error {} // no answer, or one that says the server is in trouble

async function call(path, body) {
  const options = { cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(LONGEST) };
  if (body !== undefined) {
    options.method = "POST";
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  let reply, said;
  try {
    reply = await fetch(path, options);
    said = await reply.text();
  } catch {
    throw new Unreachable("The server does not answer.");
  }
  let data = null;
  try { data = JSON.parse(said); } catch { /* a refusal may be a plain sentence */ }
  if (reply.status >= 500) throw new Unreachable(data?.error ?? "The server is in trouble.");
  if (!reply.ok) throw new Refused(reply.status, data?.error ?? said.slice(0, 300));
  if (data === null) throw new Unreachable("The server's answer was cut off.");
  return data;
}

export const get = (path) => call(path);
export const post = (path, body) => call(path, body);

function untilNextTry(wait) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      removeEventListener("focus", done);
      resolve();
    };
    const timer = setTimeout(done, wait);
    addEventListener("online", done);
    addEventListener("focus", done);
  });
}

// Calls until the server has answered. `trouble(sentence)` is told of every failure, `trouble(null)` of its end.
export async function persist(path, body, trouble) {
  for (let tries = 0; ; tries++) {
    try {
      const data = await call(path, body);
      if (tries) trouble(null);
      return data;
    } catch (error) {
      if (!(error instanceof Unreachable)) {
        if (tries) trouble(null);
        throw error;
      }
      trouble(error.message);
      await untilNextTry(WAITS[Math.min(tries, WAITS.length - 1)]);
    }
  }
}

// One vote at most waits, since the next item comes only with the answer. Under the annotator's name: a browser
// may be used by two people, and a vote goes to nobody else.
const place = (name) => `factory:unsent:${name}`;

export const unsent = {
  keep(name, vote) {
    try { localStorage.setItem(place(name), JSON.stringify(vote)); } catch { /* it is still in memory */ }
  },
  read(name) {
    try { return JSON.parse(localStorage.getItem(place(name))); } catch { return null; }
  },
  forget(name) {
    try { localStorage.removeItem(place(name)); } catch { /* was never there */ }
  },
};
