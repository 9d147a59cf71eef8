// Drawing of one slice with the outline of its mask, and the cache of slices.

const CACHED_BYTES = 128 * 2 ** 20;
const slices = new Map();  // address -> promise of a slice, the last used at the end
let cachedBytes = 0;

/** Get a slice from the server, or from the cache. */
export function sliceOf(number, caseFacts, at) {
  const address = `cases/${number}/${at.plane}/${at.position}/${at.shown}`;
  const known = slices.get(address);
  if (known) {
    slices.delete(address);
    slices.set(address, known);
    return known;
  }
  const promise = load(address, caseFacts.planes[at.plane], caseFacts.shown[at.shown], caseFacts.mask_bytes);
  slices.set(address, promise);
  promise.then((slice) => { cachedBytes += slice.bytes; shrink(); }, () => slices.delete(address));
  return promise;
}

/** Drop all slices, since the mask of a case has changed. */
export function forgetSlices() {
  slices.clear();
  cachedBytes = 0;
}

function shrink() {
  for (const [address, promise] of slices) {
    if (cachedBytes <= CACHED_BYTES || slices.size < 4) return;
    slices.delete(address);
    promise.then((slice) => { cachedBytes -= slice.bytes; }, () => {});
  }
}

async function load(address, plane, shown, maskBytes) {
  const reply = await fetch(address);
  if (!reply.ok) throw new Error((await reply.json()).error);
  const buffer = await reply.arrayBuffer();
  const pixels = plane.rows * plane.columns;
  const end = pixels * shown.bytes * shown.channels;
  const typed = (bytes, part) => (bytes === 1 ? new Uint8Array(part) : new Uint16Array(part));
  const values = typed(shown.bytes, buffer.slice(0, end));
  const channels = [];
  for (let n = 0; n < shown.channels; n++) channels.push(values.subarray(n * pixels, (n + 1) * pixels));
  return { channels, mask: typed(maskBytes, buffer.slice(end)), bytes: buffer.byteLength };
}

/** A canvas that shows one plane. */
export class PlaneCanvas {
  constructor(canvas) {
    this.canvas = canvas;
    this.scan = document.createElement("canvas");
    this.place = null;  // left, top and size of a pixel, of the last drawing
  }

  /** Draw a slice. `scene`: plane, shown, slice, window [low, high], colours, outline, cross. */
  draw(scene) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    const context = this.canvas.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    if (!scene) { this.place = null; return; }
    const { plane } = scene;
    const margin = plane.flipped ? 22 * ratio : 4 * ratio;
    const scale = Math.min(
      (this.canvas.width - 2 * margin) / (plane.columns * plane.width),
      (this.canvas.height - 2 * margin) / (plane.rows * plane.height),
    );
    const wide = scale * plane.width;
    const high = scale * plane.height;
    const left = (this.canvas.width - wide * plane.columns) / 2;
    const top = (this.canvas.height - high * plane.rows) / 2;
    this.place = { left, top, wide, high, ratio, plane };
    this.paint(scene);
    context.imageSmoothingEnabled = true;
    context.drawImage(this.scan, left, top, wide * plane.columns, high * plane.rows);
    if (scene.outline) this.drawOutlines(context, scene);
    if (scene.cross) this.drawCross(context, scene.cross);
    if (plane.flipped) this.drawLetters(context, plane);
  }

  /** Paint the slice, pixel by pixel, with its window. */
  paint({ plane, shown, slice, window: [low, high] }) {
    this.scan.width = plane.columns;
    this.scan.height = plane.rows;
    const context = this.scan.getContext("2d");
    const picture = context.createImageData(plane.columns, plane.rows);
    const table = greyTable(shown, low, high);
    const [red, green, blue] = slice.channels.length === 3 ? slice.channels : Array(3).fill(slice.channels[0]);
    for (let n = 0, at = 0; n < red.length; n++, at += 4) {
      picture.data[at] = table[red[n]];
      picture.data[at + 1] = table[green[n]];
      picture.data[at + 2] = table[blue[n]];
      picture.data[at + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
  }

  /** Draw lines along the pixels' borders, just inside each label, so that neighbours show both. */
  drawOutlines(context, { plane, slice, colours }) {
    const { left, top, wide, high, ratio } = this.place;
    const { rows, columns } = plane;
    const mask = slice.mask;
    const inside = 0.75 * ratio;
    const paths = new Map();
    const at = (row, column) =>
      (row < 0 || column < 0 || row >= rows || column >= columns ? 0 : mask[row * columns + column]);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const value = mask[row * columns + column];
        if (value === 0) continue;
        const [x0, x1] = [left + column * wide, left + (column + 1) * wide];
        const [y0, y1] = [top + row * high, top + (row + 1) * high];
        if (!paths.has(value)) paths.set(value, new Path2D());
        const path = paths.get(value);
        const line = (a, b, c, d) => { path.moveTo(a, b); path.lineTo(c, d); };
        if (at(row - 1, column) !== value) line(x0, y0 + inside, x1, y0 + inside);
        if (at(row + 1, column) !== value) line(x0, y1 - inside, x1, y1 - inside);
        if (at(row, column - 1) !== value) line(x0 + inside, y0, x0 + inside, y1);
        if (at(row, column + 1) !== value) line(x1 - inside, y0, x1 - inside, y1);
      }
    }
    context.lineWidth = 1.5 * ratio;
    for (const [value, path] of paths) {
      context.strokeStyle = `rgb(${(colours.get(value) ?? [255, 255, 255]).join(",")})`;
      context.stroke(path);
    }
  }

  /** Mark the places of the other planes, in pixels of the slice. */
  drawCross(context, [column, row]) {
    const { left, top, wide, high, ratio, plane } = this.place;
    const x = left + (column + 0.5) * wide;
    const y = top + (row + 0.5) * high;
    context.strokeStyle = "rgba(127, 196, 255, .7)";
    context.lineWidth = ratio;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, top + plane.rows * high);
    context.moveTo(left, y);
    context.lineTo(left + plane.columns * wide, y);
    context.stroke();
  }

  /** Write the patient's directions at the canvas's edges. */
  drawLetters(context, plane) {
    const { width, height } = this.canvas;
    const ratio = this.place.ratio;
    const [left, right, top, bottom] = plane.letters;
    context.font = `bold ${14 * ratio}px sans-serif`;
    context.fillStyle = "#fff";
    context.textAlign = "center";
    context.textBaseline = "middle";
    const edge = 11 * ratio;
    context.fillText(left, edge, height / 2);
    context.fillText(right, width - edge, height / 2);
    context.fillText(top, width / 2, edge);
    context.fillText(bottom, width / 2, height - edge);
  }

  /** Return column and row of the slice at a place of the mouse; null outside. */
  pixelAt(event) {
    if (!this.place) return null;
    const box = this.canvas.getBoundingClientRect();
    const { left, top, wide, high, ratio, plane } = this.place;
    const column = Math.floor(((event.clientX - box.left) * ratio - left) / wide);
    const row = Math.floor(((event.clientY - box.top) * ratio - top) / high);
    const outside = column < 0 || row < 0 || column >= plane.columns || row >= plane.rows;
    return outside ? null : [column, row];
  }
}

/** Return the grey of every number that the server may send. */
function greyTable(shown, low, high) {
  const table = new Uint8ClampedArray(shown.bytes === 1 ? 256 : 65536);
  const span = Math.max(high - low, 1e-9);
  for (let n = 0; n < table.length; n++) {
    table[n] = (255 * (shown.first + shown.step * n - low)) / span;
  }
  return table;
}
