// The page of agreement: titles, sentences, tables and pictures, as GET /api/agreement gives them.

import { make } from "./item.js";
import { get } from "./post.js";

const isNumber = (cell) => typeof cell === "number" || /^([-+−]?\d[\d.,]*\s?%?( \([−\d., ]+ to [−\d., ]+ ?%?\))?( of [\d,]+)?|–)$/.test(cell ?? "");
const written = (cell) => (cell === null || cell === undefined ? "–"
  : typeof cell === "number" && !Number.isInteger(cell) ? cell.toFixed(3) : String(cell));

function tableOf({ columns, rows }) {
  const right = columns.map((_, n) => rows.length > 0 && rows.every((row) => row[n] === null || isNumber(row[n])));
  const cls = (n) => (right[n] ? "number" : null);
  const head = make("tr", {}, ...columns.map((name, n) => make("th", { scope: "col", class: cls(n) }, name)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell, n) =>
    n === 0 ? make("th", { scope: "row", dir: "auto" }, written(cell)) : make("td", { class: cls(n), dir: "auto" }, written(cell)))));
  const table = make("table", { class: "figures" }, make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table" }, table);
}

// Read as XML, without its scripts; the policy of the page lets none run anyway.
function pictureOf(svg, title) {
  const picture = new DOMParser().parseFromString(svg, "image/svg+xml").documentElement;
  if (picture.localName !== "svg") return "";
  for (const node of picture.querySelectorAll("script, foreignObject, style")) node.remove();
  if (!picture.hasAttribute("role")) picture.setAttribute("role", "img");
  if (!picture.hasAttribute("aria-label") && !picture.querySelector("title")) picture.setAttribute("aria-label", title);
  return make("div", { class: "scroll" }, document.importNode(picture, true));
}

// Paragraphs stand apart by an empty line; lines that begin with a dash are a list.
function notesOf(note) {
  return (note ?? "").split(/\n{2,}/).filter(Boolean).map((part) => {
    const lines = part.split("\n");
    if (!lines.every((line) => line.startsWith("- "))) return make("p", { class: "note", dir: "auto" }, part);
    return make("ul", { class: "note" }, ...lines.map((line) => make("li", { dir: "auto" }, line.slice(2))));
  });
}

function sectionOf(section) {
  const inside = [make("h2", {}, section.title), ...notesOf(section.note)];
  for (const svg of [section.svg ?? []].flat()) inside.push(pictureOf(svg, section.title));
  if (section.table) inside.push(tableOf(section.table));
  return make("section", {}, ...inside);
}

try {
  const page = await get("/api/agreement");
  const inside = [make("h1", { dir: "auto" }, page.title ? `Agreement: ${page.title}` : "Agreement"), ...notesOf(page.note)];
  document.getElementById("findings").replaceChildren(...inside, ...(page.sections ?? []).map(sectionOf));
} catch (error) {
  document.getElementById("alarm").textContent = error.message;
  document.getElementById("alarm").hidden = false;
}
document.body.dataset.state = "ready";
