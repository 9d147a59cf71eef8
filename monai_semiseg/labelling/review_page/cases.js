// The cases of a review: their list, the one that is open, and the decisions on them.

import { byId, element, say } from "./elements.js";
import { showImage } from "./planes.js";
import { forgetSlices } from "./viewer.js";

const WORDS = { accepted: "accepted", rejected: "rejected", needs_correction: "needs correction" };

let review = null;  // overview from the server
let current = null;  // number of the case that is open
let facts = null;  // of its image and mask; null if they cannot be shown
const notes = new Map();  // case -> note that is not kept yet
let keeping = Promise.resolve();  // the last decision that was sent to the server

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

/** Get all cases from the server. */
export async function loadReview() {
  review = await ask("cases");
  return review;
}

/** Open the first case that is not decided on. */
export function openFirst() {
  const first = review.cases.findIndex((item) => !item.decision?.current);
  openCase(Math.max(0, first));
}

// ---------------------------------------------------------------- list of cases

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

export function showList() {
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

export function step(by) {
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
  showImage(number, null);
  try {
    const answer = await ask(`cases/${number}`);
    if (current !== number) return;
    facts = answer;
  } catch (error) {
    if (current === number) say(error.message);
    return;
  }
  showDecision();
  showImage(number, facts);
  const next = listed()[listed().indexOf(number) + 1];
  if (next !== undefined) ask(`cases/${next}`).catch(() => {});  // the server reads it ahead
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
export function decide(decision, goOn = true) {
  if (decision && facts === null) return;
  const number = current;
  const note = byId("note").value;
  const content = { decision: decision || null, note, mask_sha256: facts?.mask_sha256 ?? "" };
  // One after the other: who takes a decision back at once takes back one that is being kept.
  keeping = keeping.then(() => keep(number, content, goOn));
}

async function keep(number, content, goOn) {
  const { decision, note } = content;
  const item = review.cases[number];
  if (!decision && !item.decision) return;
  const numbers = listed();
  const next = numbers[numbers.indexOf(number) + 1];
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

/** Keep the note of the open case in mind until it is decided on. */
export function rememberNote() {
  notes.set(current, byId("note").value);
}

/** Keep the note of a case that is decided on already. */
export function keepNote() {
  const decision = review.cases[current].decision;
  if (decision?.current) decide(decision.decision, false);
}
