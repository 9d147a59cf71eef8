// The image that is open: where its planes are cut, its channel and its window.

import { byId, element, say } from "./elements.js";
import { PlaneCanvas, sliceOf } from "./viewer.js";

const canvases = [0, 1, 2].map((n) => new PlaneCanvas(byId(`plane${n}`)));

let colours = new Map();  // label -> red, green, blue
let number = null;  // of the case
let facts = null;  // of its image and mask; null if they cannot be shown
let order = [0, 1, 2];  // planes: the large one first
let place = [0, 0, 0];  // slice that each axis is cut at
let shown = 0;  // way to show the image
let range = [0, 1];  // values that are drawn black and white
let drawing = 0;  // number of the last drawing; earlier ones are dropped

export function setColours(labels) {
  colours = new Map(labels.map((label) => [label.value, label.colour]));
}

/** Show the image of a case; nothing while its facts are null. */
export function showImage(caseNumber, caseFacts) {
  number = caseNumber;
  facts = caseFacts;
  if (facts) {
    order = facts.planes.map((_, n) => n);
    place = [...facts.start];
    showChannels();
  }
  draw();
}

// ---------------------------------------------------------------- channel

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

export function changeChannel() {
  shown = byId("shown").selectedIndex;
  resetWindow();
  draw();
}

export function nextChannel() {
  if (!facts) return;
  byId("shown").selectedIndex = (shown + 1) % facts.shown.length;
  changeChannel();
}

// ---------------------------------------------------------------- slices

const axesOf = (plane) => [0, 1, 2].filter((axis) => axis !== plane.axis);

/** Return the place of an axis as a pixel of a slice, or a pixel as a place. */
function mirrored(plane, axis, at) {
  return plane.flipped ? facts.shape[axis] - 1 - at : at;
}

export async function draw() {
  const turn = ++drawing;
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
    readAhead(wanted[0]);
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
function readAhead(at) {
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

/** Cut the large plane at a slice. */
export function moveTo(position) {
  if (!facts) return;
  const axis = facts.planes[order[0]].axis;
  const last = facts.shape[axis] - 1;
  place[axis] = Math.min(last, Math.max(0, position));
  draw();
}

export function moveSlice(by) {
  if (facts) moveTo(place[facts.planes[order[0]].axis] + by);
}

/** Make the plane of a canvas the large one. */
export function enlargeCanvas(number) {
  enlarge(order[number]);
}

/** Make a plane the large one. */
export function enlarge(plane) {
  if (!facts || facts.planes.length <= plane) return;
  order = [plane, ...facts.planes.map((_, n) => n).filter((n) => n !== plane)];
  draw();
}

/** Cut all other planes where the mouse is on the large one. */
export function goTo(event) {
  const pixel = facts && canvases[0].pixelAt(event);
  if (!pixel) return;
  const plane = facts.planes[order[0]];
  axesOf(plane).forEach((axis, n) => { place[axis] = mirrored(plane, axis, pixel[n] * plane.every); });
  draw();
}

// ---------------------------------------------------------------- window

export function resetWindow() {
  if (!facts) return;
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
export function moveWindow(wider, brighter) {
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

export function typedWindow() {
  const centre = byId("centre").valueAsNumber;
  const width = byId("width").valueAsNumber;
  if (facts && Number.isFinite(centre) && width > 0) {
    range = [centre - width / 2, centre + width / 2];
    draw();
  }
}
