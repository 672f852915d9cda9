// Dragging a letter to a place, by mouse, pen or finger (HTML's own drag and drop knows no fingers).

const SLACK = 6; // pixels a finger may tremble and still tap

export function makeDraggable(node, dropped, tapped) {
  let start = null;
  let moved = false;

  const end = () => {
    start = null;
    node.classList.remove("dragged");
    node.style.transform = "";
    for (const slot of document.querySelectorAll(".slot.over")) slot.classList.remove("over");
  };
  const slotUnder = (event) => document.elementsFromPoint(event.clientX, event.clientY)
    .map((under) => under.closest("[data-place]")).find(Boolean);

  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = { x: event.clientX, y: event.clientY };
    moved = false;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = [event.clientX - start.x, event.clientY - start.y];
    if (!moved && Math.hypot(x, y) < SLACK) return;
    moved = true;
    node.classList.add("dragged");
    node.style.transform = `translate(${x}px, ${y}px)`;
    const target = slotUnder(event);
    for (const slot of document.querySelectorAll(".slot")) slot.classList.toggle("over", slot === target);
  });
  node.addEventListener("pointerup", (event) => {
    if (!start) return;
    const target = moved ? slotUnder(event) : null;
    end();
    if (target) dropped(target.dataset.place === "" ? null : Number(target.dataset.place));
  });
  node.addEventListener("pointercancel", end);
  // A click comes from the keyboard, too; after a drag it is no tap.
  node.addEventListener("click", () => { if (!moved) tapped(); });
}
