// Moves of slots: how far each is, what happened in it, and what can be asked of it.

import { $, announce, call, count, make, mark, say, seconds } from "./api.js";

const WORDS = {
  plan: "waits for its turn", preflight: "looks ahead", copy: "copies rows", catch_up: "catches up", verify: "compares rows",
  cutover: "changes owners", rollback_window: "done, can be rolled back", rollback: "rolls back", clean_up: "cleans up",
  done: "done", cancelled: "cancelled", rolled_back: "rolled back", failed: "failed",
};
const ENDS = ["done", "cancelled", "rolled_back", "failed"];
const BEFORE_CUTOVER = ["plan", "preflight", "copy", "catch_up", "verify"];
const REQUESTS = [
  { path: "cancel", label: "Cancel", stages: BEFORE_CUTOVER },
  { path: "rollback", label: "Roll back", stages: ["rollback_window"], ask: "Give the slots back to the shard that they came from?" },
  { path: "finish", label: "Finish", stages: ["rollback_window"], ask: "End the rollback window, and clean up?" },
];
const shown = new Map();

export function show(moves) {
  say($("no-moves"), moves === null ? "Shard 0, which keeps the moves, does not answer." : "No slot has moved yet.");
  $("no-moves").hidden = moves !== null && moves.length > 0;
  if (moves === null) return;
  const ids = new Set(moves.map((move) => move.id));
  for (const [id, item] of shown) {
    if (!ids.has(id)) {
      item.root.remove();
      shown.delete(id);
    }
  }
  const order = [...moves].sort((a, b) => b.id - a.id);
  order.forEach((move, place) => {
    let item = shown.get(move.id);
    if (!item) {
      item = build(move);
      shown.set(move.id, item);
      $("moves").insertBefore(item.root, $("moves").children[place] ?? null);
    }
    fill(item, move);
  });
}

function build(move) {
  const pill = make("span", { class: "pill" });
  const name = `Move ${move.id}`;
  const item = {
    stage: null, pill, what: make("p"), bar: make("progress", { max: 1, "aria-label": `${name}: rows copied and compared` }),
    facts: make("p", { class: "hint" }), answer: make("p", { class: "answer", role: "status" }),
    events: make("ol", { class: "events" }), buttons: make("div", { class: "buttons" }),
  };
  for (const request of REQUESTS) {
    const button = make("button", { type: "button", "aria-label": `${request.label}: ${name.toLowerCase()}`, "data-request": request.path }, request.label);
    button.addEventListener("click", () => ask(item, move.id, request));
    item.buttons.append(button, " ");
  }
  item.details = make("details", {}, make("summary", {}, "What happened"), item.events);
  item.details.addEventListener("toggle", () => item.details.open && tell(item, move.id));
  item.root = make("li", { "data-move": move.id },
    make("h3", {}, make("span", {}, `${name}: shard ${move.source} → shard ${move.target}`), pill),
    item.what, item.bar, item.facts, item.buttons, item.answer, item.details);
  return item;
}

function fill(item, move) {
  if (item.stage !== move.stage) {
    if (item.stage !== null) announce(`Move ${move.id}: ${WORDS[move.stage]}.`);
    item.stage = move.stage;
    mark(item.root, "stage", move.stage);
    item.buttons.hidden = !REQUESTS.some((request) => request.stages.includes(move.stage));
    [...item.buttons.querySelectorAll("button")].forEach((button, place) => { button.hidden = !REQUESTS[place].stages.includes(move.stage); });
    say(item.answer, "");
    if (item.details.open) tell(item, move.id);
  }
  mark(item.pill, "state", { failed: "bad", done: "good", rollback_window: "good", rolled_back: "warn", cancelled: "warn" }[move.stage] ?? "waiting");
  say(item.pill, WORDS[move.stage]);
  const slots = move.slot_count === 1 ? "slot" : `${count(move.slot_count)} slots:`;
  say(item.what, `${move.kind}, ${slots} ${move.slots}`);
  const passed = !BEFORE_CUTOVER.includes(move.stage) && !["cancelled", "failed"].includes(move.stage);
  const done = passed ? 1 : Math.min(1, (move.copied_rows + move.verified_rows) / Math.max(1, move.total_rows * 2));
  item.bar.hidden = ENDS.includes(move.stage);
  if (item.bar.value !== done || !item.bar.hasAttribute("value")) item.bar.value = done;
  say(item.facts, [
    `${count(move.copied_rows)} of ${count(move.total_rows)} rows copied`, `${count(move.verified_rows)} compared`,
    move.eta_seconds !== null && `about ${seconds(move.eta_seconds)} left`,
    move.lag_ms !== null && !ENDS.includes(move.stage) && `lag ${count(move.lag_ms)} ms`,
    move.freeze_ms !== null && `writes waited ${move.freeze_ms.toFixed(1)} ms`, move.reason,
  ].filter(Boolean).join(" · "));
}

async function ask(item, id, request) {
  if (request.ask && !confirm(`Move ${id}: ${request.ask}`)) return;
  try {
    await call(`admin/moves/${id}/${request.path}`, "");
    mark(item.answer, "state", "good");
    say(item.answer, "Asked for; it happens in a moment.");
  } catch (error) {
    mark(item.answer, "state", "bad");
    say(item.answer, error.message);
  }
}

async function tell(item, id) {
  try {
    const { events = [] } = await call(`admin/moves/${id}`);
    const line = (event) => make("li", {}, `${new Date(event.at).toLocaleTimeString("en-GB")}  ${WORDS[event.stage] ?? event.stage}: ${event.what}`);
    item.events.replaceChildren(...events.map(line));
  } catch (error) {
    item.events.replaceChildren(make("li", {}, error.message));
  }
}
