// The page of a review: list of cases, keys, window, decisions.

import { PlaneCanvas, forgetSlices, sliceOf } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const canvases = [0, 1, 2].map((n) => new PlaneCanvas(byId(`plane${n}`)));
const WORDS = { accepted: "accepted", rejected: "rejected", needs_correction: "needs correction" };

let review = null;  // overview from the server
let colours = new Map();  // label -> red, green, blue
let current = null;  // number of the case that is open
let facts = null;  // of its image and mask; null if they cannot be shown
let order = [0, 1, 2];  // planes: the large one first
let place = [0, 0, 0];  // slice that each axis is cut at
let shown = 0;  // way to show the image
let range = [0, 1];  // values that are drawn black and white
const notes = new Map();  // case -> note that is not kept yet
let drawing = 0;  // number of the last drawing; earlier ones are dropped

async function ask(address, content) {
  const request = content && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  };
  let reply;
  try {
    reply = await fetch(address, request);
  } catch {
    throw new Error("The server does not answer. Start monai-semiseg review again.");
  }
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error);
  return answer;
}

function say(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

// ---------------------------------------------------------------- list of cases

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function isShown(item) {
  const filter = byId("filter").value;
  const decision = item.decision?.current ? item.decision.decision : null;
  if (filter === "all") return true;
  if (filter === "undecided") return decision === null;
  if (filter === "flagged") return item.flags.length > 0;
  return decision === filter;
}

/** Return the numbers of the cases that the list shows, in its order. */
function listed() {
  const numbers = review.cases.map((_, number) => number).filter((n) => isShown(review.cases[n]));
  const [label, direction] = JSON.parse(byId("order").selectedOptions[0].dataset.size ?? "[null, 1]");
  if (label === null) return numbers;
  const size = (number) => review.cases[number].sizes[label] ?? 0;
  return numbers.sort((a, b) => direction * (size(a) - size(b)));
}

function showList() {
  const filter = byId("filter").value;
  const rows = filter === "failed" ? [] : listed().map(caseRow);
  if (filter === "all" || filter === "failed") rows.push(...review.without.map(failedRow));
  if (rows.length === 0) rows.push(element("li", "No case is of this kind.", "row"));
  byId("cases").replaceChildren(...rows);
  byId("cases").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest" });
  const decided = review.cases.filter((item) => item.decision?.current).length;
  const failed = review.without.length ? `, ${review.without.length} without a mask` : "";
  byId("counts").textContent = `${decided} of ${review.cases.length} decided${failed}`;
}

function caseRow(number) {
  const item = review.cases[number];
  const button = element("button", item.id);
  button.type = "button";
  button.setAttribute("aria-current", String(number === current));
  button.append(element("small", item.sizes_text));
  if (item.uncertainty) button.append(element("small", `uncertainty ${item.uncertainty.toFixed(2)}`));
  if (item.flags.length) button.append(element("small", `flagged: ${item.flags.join(", ")}`, "flags"));
  if (item.decision) button.append(decisionLine(item.decision));
  button.addEventListener("click", () => openCase(number));
  const row = element("li", "");
  row.append(button);
  return row;
}

function decisionLine({ decision, note, current: isCurrent }) {
  const words = isCurrent ? WORDS[decision] : `the mask has changed since it was ${WORDS[decision]}`;
  return element("small", note ? `${words}: ${note}` : words, isCurrent ? decision : "flags");
}

function failedRow(item) {
  const row = element("li", item.input, "without");
  row.append(element("small", `${item.status}: ${item.reason}`, "flags"));
  return row;
}

function step(by) {
  const numbers = listed();
  const here = numbers.indexOf(current);
  const there = here < 0 ? 0 : here + by;
  if (numbers[there] !== undefined) openCase(numbers[there]);
}

// ---------------------------------------------------------------- one case

async function openCase(number) {
  current = number;
  facts = null;
  const item = review.cases[number];
  byId("note").value = notes.get(number) ?? item.decision?.note ?? "";
  byId("facts").textContent = [item.input, item.reason].filter(Boolean).join("\n\n");
  say("");
  showList();
  showDecision();
  draw();
  try {
    const answer = await ask(`cases/${number}`);
    if (current !== number) return;
    facts = answer;
  } catch (error) {
    if (current === number) say(error.message);
    return;
  }
  order = facts.planes.map((_, n) => n);
  place = [...facts.start];
  showChannels();
  showDecision();
  draw();
  const next = listed()[listed().indexOf(number) + 1];
  if (next !== undefined) ask(`cases/${next}`).catch(() => {});  // the server reads it ahead
}

function showChannels() {
  const names = facts.shown.map((way) => way.name);
  const before = byId("shown").selectedOptions[0]?.textContent;
  byId("shown").replaceChildren(...names.map((name) => element("option", name || "image")));
  const same = names.indexOf(before);
  const keep = byId("keep").checked && same >= 0;
  shown = keep ? same : 0;
  byId("shown").selectedIndex = shown;
  byId("shown").disabled = names.length < 2;
  if (!keep) resetWindow();
}

function showDecision() {
  const decision = review.cases[current].decision;
  for (const button of document.querySelectorAll("[data-decision]")) {
    const isMade = Boolean(decision?.current) && decision.decision === button.dataset.decision;
    button.disabled = facts === null;
    if (button.dataset.decision) button.setAttribute("aria-pressed", String(isMade));
    else button.disabled = !decision;
  }
}

/** Keep a decision, "" takes it back; the page shows it when it is on the disk. */
async function decide(decision, goOn = true) {
  const number = current;
  const item = review.cases[number];
  if (decision ? facts === null : !item.decision) return;
  const numbers = listed();
  const next = numbers[numbers.indexOf(number) + 1];
  const note = byId("note").value;
  const content = { decision: decision || null, note, mask_sha256: facts?.mask_sha256 ?? "" };
  try {
    await ask(`cases/${number}/decision`, content);
  } catch (error) {
    forgetSlices();  // the mask may be another one by now
    await openCase(number);
    say(`Not kept. ${error.message}`);
    return;
  }
  notes.delete(number);
  item.decision = decision ? { decision, note, current: true } : null;
  say("");
  showList();
  showDecision();
  if (decision && goOn && byId("advance").checked && next !== undefined && current === number) openCase(next);
}

// ---------------------------------------------------------------- slices

const axesOf = (plane) => [0, 1, 2].filter((axis) => axis !== plane.axis);

/** Return the place of an axis as a pixel of a slice, or a pixel as a place. */
function mirrored(plane, axis, at) {
  return plane.flipped ? facts.shape[axis] - 1 - at : at;
}

async function draw() {
  const turn = ++drawing;
  const number = current;
  const planes = facts?.planes ?? [];
  byId("plane1").hidden = byId("plane2").hidden = planes.length < 3;
  if (!facts) {
    canvases.forEach((canvas) => canvas.draw(null));
    byId("caption").textContent = "";
    return;
  }
  const wanted = order.map((n) => ({ plane: n, position: place[planes[n].axis], shown }));
  showPosition(planes[order[0]], wanted[0].position);
  try {
    const got = await Promise.all(wanted.map((at) => sliceOf(number, facts, at)));
    if (turn !== drawing) return;
    got.forEach((slice, n) => canvases[n].draw(scene(slice, planes[order[n]], n > 0)));
    readAhead(number, wanted[0]);
  } catch (error) {
    if (turn === drawing) say(error.message);
  }
}

function scene(slice, plane, withCross) {
  const [across, down] = axesOf(plane);
  const cross = [
    mirrored(plane, across, place[across]) / plane.every,
    mirrored(plane, down, place[down]) / plane.every,
  ];
  return {
    slice, plane, colours, window: range,
    shown: facts.shown[shown],
    outline: byId("outline").checked,
    cross: withCross ? cross : null,
  };
}

/** Get the neighbours of a slice, so that scrolling does not wait. */
function readAhead(number, at) {
  const last = facts.shape[facts.planes[at.plane].axis] - 1;
  for (const by of [1, -1, 2, -2]) {
    const position = at.position + by;
    if (position >= 0 && position <= last) sliceOf(number, facts, { ...at, position }).catch(() => {});
  }
}

function showPosition(plane, position) {
  const count = facts.shape[plane.axis];
  byId("position").max = count - 1;
  byId("position").value = position;
  byId("position").disabled = count === 1;
  const where = plane.captions[position] ?? plane.name;
  const every = plane.every > 1 ? `, every ${plane.every}th pixel` : "";
  byId("caption").textContent = `${where}  (${position + 1} of ${count}${every})`;
}

function moveSlice(by) {
  if (!facts) return;
  const axis = facts.planes[order[0]].axis;
  const last = facts.shape[axis] - 1;
  place[axis] = Math.min(last, Math.max(0, place[axis] + by));
  draw();
}

/** Make a plane the large one. */
function enlarge(plane) {
  if (!facts || facts.planes.length <= plane) return;
  order = [plane, ...facts.planes.map((_, n) => n).filter((n) => n !== plane)];
  draw();
}

// ---------------------------------------------------------------- window

function resetWindow() {
  const way = facts.shown[shown];
  setWindow(way.low, way.high);
}

function setWindow(low, high) {
  range = [low, Math.max(high, low + 1e-6)];
  const rounded = (value) => Number(value.toPrecision(5));
  byId("centre").value = rounded((range[0] + range[1]) / 2);
  byId("width").value = rounded(range[1] - range[0]);
}

/** Move the window: `wider` and `brighter` in steps of its own width or of the image's values. */
function moveWindow(wider, brighter) {
  if (!facts) return;
  const way = facts.shown[shown];
  const width = range[1] - range[0];
  const least = (way.most - way.least) / 1000;
  const unit = Math.max(width / 250, least / 4);
  const centre = (range[0] + range[1]) / 2 - brighter * unit;
  const half = Math.max(width + wider * unit, least) / 2;
  setWindow(centre - half, centre + half);
  draw();
}

function typedWindow() {
  const centre = byId("centre").valueAsNumber;
  const width = byId("width").valueAsNumber;
  if (facts && Number.isFinite(centre) && width > 0) {
    range = [centre - width / 2, centre + width / 2];
    draw();
  }
}

// ---------------------------------------------------------------- mouse and keys

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
    if (from && !moved) goTo(canvases[0].pixelAt(event));
    from = null;
  });
  large.addEventListener("pointercancel", () => { from = null; });
  [1, 2].forEach((n) => byId(`plane${n}`).addEventListener("click", () => enlarge(order[n])));
}

/** Cut all other planes at a pixel of the large one. */
function goTo(pixel) {
  if (!facts || !pixel) return;
  const plane = facts.planes[order[0]];
  axesOf(plane).forEach((axis, n) => { place[axis] = mirrored(plane, axis, pixel[n] * plane.every); });
  draw();
}

const KEYS = {
  a: () => decide("accepted"),
  r: () => decide("rejected"),
  c: () => decide("needs_correction"),
  u: () => decide(""),
  n: () => step(1),
  p: () => step(-1),
  e: () => byId("note").focus(),
  w: () => { if (facts) { resetWindow(); draw(); } },
  m: () => { byId("outline").checked = !byId("outline").checked; draw(); },
  k: () => {
    if (!facts) return;
    byId("shown").selectedIndex = (shown + 1) % facts.shown.length;
    byId("shown").dispatchEvent(new Event("change"));
  },
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
  byId("position").addEventListener("input", () => moveSlice(byId("position").valueAsNumber
    - place[facts.planes[order[0]].axis]));
  byId("shown").addEventListener("change", () => {
    shown = byId("shown").selectedIndex;
    resetWindow();
    draw();
  });
  for (const list of document.querySelectorAll("select")) {
    list.addEventListener("change", () => list.blur());  // keys are for the masks again
  }
  for (const button of document.querySelectorAll("[data-decision]")) {
    button.addEventListener("click", () => decide(button.dataset.decision));
  }
  byId("note").addEventListener("input", () => notes.set(current, byId("note").value));
  byId("note").addEventListener("change", () => {
    const decision = review.cases[current].decision;
    if (decision?.current) decide(decision.decision, false);
  });
  new ResizeObserver(draw).observe(byId("view"));
}

// ---------------------------------------------------------------- start

async function start() {
  try {
    review = await ask("cases");
  } catch (error) {
    say(error.message);
    return;
  }
  byId("folder").textContent = review.folder;
  colours = new Map(review.labels.map((label) => [label.value, label.colour]));
  for (const { name, colour } of review.labels) {
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
  listenToMouse();
  listenToKeys();
  listenToFields();
  const first = review.cases.findIndex((item) => !item.decision?.current);
  openCase(Math.max(0, first));
}

start();
