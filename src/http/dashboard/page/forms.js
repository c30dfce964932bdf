// The forms: storing a file, and starting moves, each of which is tried dry first.

import { $, bytes, call, count, make, onSubmit, say, seconds, token } from "./api.js";
import { point } from "./slots.js";

export function setup() {
  onSubmit("ingest-form", "stored", ingest);
  const form = $("move-form");
  onSubmit("move-form", "plan", (fields, button) => plan(form, fields, button));
  form.elements.kind.addEventListener("change", () => choose(form));
  // What is started is what was looked at.
  form.addEventListener("input", () => { form.elements.start.disabled = true; });
  choose(form);
}

/** The shards that can be chosen. */
export function choices(shards) {
  for (const select of document.querySelectorAll(".a-shard")) {
    while (select.options.length < shards.length) select.append(make("option", { value: select.options.length }, `shard ${select.options.length}`));
  }
}

export function firstSteps() {
  const here = new URL(".", location.href).href.replace(/\/$/, "");
  const sign = token.get() ? " \\\n     -H \"Authorization: Bearer $TOKEN\"" : "";
  say($("first-steps"), [
    `curl -X POST '${here}/ingest/bulk?count=100'${sign}`,
    `curl -X POST '${here}/ingest' -H 'Content-Type: application/json'${sign} \\\n     -d '{"user_id": 123, "file_name": "my_document.txt"}'`,
    `curl '${here}/query/123'${sign}`,
  ].join("\n"));
}

async function ingest({ user_id, file_name, path, size_bytes }) {
  const rest = { file_name, ...(path && { path }), ...(size_bytes && { size_bytes: Number(size_bytes) }) };
  // The user's number as it was typed: it may be larger than a number of JavaScript holds exactly.
  const { data } = await call("ingest", `{"user_id":${BigInt(user_id)},${JSON.stringify(rest).slice(1)}`);
  const slot = Number(BigInt(user_id) % 5040n);
  point(slot);
  return `Storing data for user ${user_id} → shard ${data.shard_id} (slot ${slot})\nfile id ${data.file_id}`;
}

function choose(form) {
  const kind = form.elements.kind.value;
  for (const label of form.querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(kind);
    for (const field of label.querySelectorAll("input, select")) field.disabled = label.hidden;
  }
  form.elements.start.disabled = true;
  say($("plan"), "");
}

async function plan(form, fields, button) {
  const dry = button?.name !== "start";
  if (!dry && form.elements.start.disabled) return "";
  const { kind, ...body } = fields;
  body.dry_run = dry;
  for (const name of ["to", "shard", "rollback_window_seconds", "copy_rate"]) {
    if (body[name] === "") delete body[name];
    else if (name in body) body[name] = Number(body[name]);
  }
  form.elements.start.disabled = true;
  const answer = await call(`admin/${kind}`, JSON.stringify(body));
  if (kind === "shards") {
    form.elements.start.disabled = !dry;
    if (dry) return `${answer.place} ${answer.was_there ? "belongs to the cluster already." : `can become shard ${answer.shard_id}.`}`;
    return `${answer.place} is shard ${answer.shard_id}. Deal the slots anew to give it some.`;
  }
  const fatal = answer.findings.some((finding) => finding.fatal);
  const nothing = answer.moves.length === 0;
  form.elements.start.disabled = !dry || fatal || nothing;
  const lines = answer.moves.map((move) => `shard ${move.source} → shard ${move.target}: ${count(move.slot_count)} slots, ${count(move.rows)} rows, ${bytes(move.bytes)}`);
  const findings = answer.findings.map((finding) => `${finding.fatal ? "In the way: " : "Note: "}${finding.what}`);
  const head = nothing ? "Nothing to move." : dry ? `Would take about ${seconds(answer.estimate_seconds)}.` : `Started: move ${answer.ids.join(", ")}.`;
  return [head, ...lines, ...findings].join("\n");
}
