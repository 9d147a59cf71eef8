// The page of a review: what keys, mouse and fields do, and its start.

import { decide, keepNote, loadReview, openFirst, rememberNote, showList, step } from "./cases.js";
import { byId, element, say } from "./elements.js";
import {
  changeChannel, draw, enlarge, enlargeCanvas, goTo, moveSlice, moveTo, moveWindow, nextChannel,
  resetWindow, setColours, typedWindow,
} from "./planes.js";

function listenToMouse() {
  const large = byId("plane0");
  let from = null;
  let moved = false;
  large.addEventListener("wheel", (event) => {
    event.preventDefault();
    moveSlice(event.deltaY > 0 ? -1 : 1);
  }, { passive: false });
  large.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = [event.clientX, event.clientY];
    moved = false;
    large.setPointerCapture(event.pointerId);
  });
  large.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [x, y] = [event.clientX - from[0], event.clientY - from[1]];
    if (!moved && Math.hypot(x, y) < 4) return;
    moved = true;
    from = [event.clientX, event.clientY];
    moveWindow(x, -y);
  });
  large.addEventListener("pointerup", (event) => {
    if (from && !moved) goTo(event);
    from = null;
  });
  large.addEventListener("pointercancel", () => { from = null; });
  [1, 2].forEach((n) => byId(`plane${n}`).addEventListener("click", () => enlargeCanvas(n)));
}

const KEYS = {
  a: () => decide("accepted"),
  r: () => decide("rejected"),
  c: () => decide("needs_correction"),
  u: () => decide(""),
  n: () => step(1),
  p: () => step(-1),
  e: () => byId("note").focus(),
  w: () => { resetWindow(); draw(); },
  m: () => { byId("outline").checked = !byId("outline").checked; draw(); },
  k: nextChannel,
  1: () => enlarge(0),
  2: () => enlarge(1),
  3: () => enlarge(2),
  ArrowUp: () => moveSlice(1),
  ArrowDown: () => moveSlice(-1),
  PageUp: () => moveSlice(10),
  PageDown: () => moveSlice(-10),
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
};

const SHIFTED = {
  ArrowUp: () => moveWindow(0, 10),
  ArrowDown: () => moveWindow(0, -10),
  ArrowRight: () => moveWindow(10, 0),
  ArrowLeft: () => moveWindow(-10, 0),
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const isField = event.target.closest("textarea, select, input[type=number]");
    if (event.key === "Escape") event.target.blur();
    if (isField || event.ctrlKey || event.altKey || event.metaKey) return;
    const action = (event.shiftKey && SHIFTED[event.key]) || KEYS[event.key];
    if (!action || event.repeat && "arcu".includes(event.key)) return;
    event.preventDefault();
    action();
  });
}

function listenToFields() {
  byId("filter").addEventListener("change", showList);
  byId("order").addEventListener("change", showList);
  byId("next").addEventListener("click", () => step(1));
  byId("previous").addEventListener("click", () => step(-1));
  byId("reset").addEventListener("click", KEYS.w);
  byId("outline").addEventListener("change", draw);
  byId("centre").addEventListener("input", typedWindow);
  byId("width").addEventListener("input", typedWindow);
  byId("position").addEventListener("input", () => moveTo(byId("position").valueAsNumber));
  byId("shown").addEventListener("change", changeChannel);
  for (const list of document.querySelectorAll("select")) {
    list.addEventListener("change", () => list.blur());  // keys are for the masks again
  }
  for (const button of document.querySelectorAll("[data-decision]")) {
    button.addEventListener("click", () => decide(button.dataset.decision));
  }
  byId("note").addEventListener("input", rememberNote);
  byId("note").addEventListener("change", keepNote);
  new ResizeObserver(draw).observe(byId("view"));
}

/** Show the labels' names and colours, and offer to order the cases by the labels' sizes. */
function showLabels(labels) {
  for (const { name, colour } of labels) {
    const patch = element("span", "");
    patch.style.backgroundColor = `rgb(${colour.join(",")})`;
    const item = element("li", "");
    item.append(patch, name);
    byId("legend").append(item);
    for (const [direction, words] of [[1, "smallest"], [-1, "largest"]]) {
      const option = element("option", `${words} ${name} first`);
      option.dataset.size = JSON.stringify([name, direction]);
      byId("order").append(option);
    }
  }
}

async function start() {
  let review;
  try {
    review = await loadReview();
  } catch (error) {
    say(error.message);
    return;
  }
  byId("folder").textContent = review.folder;
  setColours(review.labels);
  showLabels(review.labels);
  listenToMouse();
  listenToKeys();
  listenToFields();
  openFirst();
}

start();
