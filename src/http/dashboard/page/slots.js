// The slot map as a picture: a cell for each slot, with the colour and the shape of its shard; striped while it moves.

import { $, count, make, say } from "./api.js";

const SLOTS = 5040;
/** Told apart also by those who see few colours (Okabe and Ito); the shapes do the same without any. */
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7ae6", "#7a8b00"];
const SHAPES = ["full", "small", "ring", "corner"];

export const colour = (shard) => COLOURS[shard % COLOURS.length];

let owners = [];
let moving = new Map();
let stages = new Map();
let only = null;
let cursor = null;
let cells = { columns: 120, size: 8 };

export function setup() {
  const map = $("map");
  new ResizeObserver(draw).observe(map);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  map.addEventListener("pointermove", (event) => point(slotAt(event)));
  map.addEventListener("pointerdown", (event) => point(slotAt(event)));
  map.addEventListener("pointerleave", () => point(null));
  map.addEventListener("blur", () => point(null));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cells.columns, ArrowDown: cells.columns }[event.key];
    const to = { Home: 0, End: SLOTS - 1 }[event.key] ?? (step && Math.min(SLOTS - 1, Math.max(0, (cursor ?? -step) + step)));
    if (to === undefined) return;
    event.preventDefault();
    point(to);
  });
}

/** A new map. */
export function show(map) {
  owners = map.owners;
  moving = new Map(map.moving.flatMap((move) => [...numbers(move.slots)].map((slot) => [slot, move.id])));
  words();
  draw();
}

/** Which moves have handed their slots over: those are no longer on their way. */
export function follow(moves) {
  const now = new Map((moves ?? []).map((move) => [move.id, move]));
  const text = (all) => [...all.values()].map((move) => `${move.id} ${isUnderWay(move)}`).join();
  const changed = text(now) !== text(stages);
  stages = now;
  if (changed) {
    words();
    draw();
  }
}

/** Shows one slot, as the arrow keys do. */
export function point(slot) {
  cursor = slot;
  const text = $("slot");
  text.hidden = slot === null;
  if (slot !== null && owners.length) {
    const way = wayOf(slot);
    say(text, `slot ${slot} · shard ${owners[slot]}${way ? ` · on its way to shard ${way.target}` : ""} · users ${slot}, ${slot + SLOTS}, ${slot + 2 * SLOTS} …`);
  }
  draw();
}

function* numbers(text) {
  for (const range of text.split(",")) {
    const [first, last = first] = range.split("-").map(Number);
    for (let slot = first; slot <= last; slot++) yield slot;
  }
}

const isUnderWay = (move) => ["plan", "preflight", "copy", "catch_up", "verify", "cutover", "rollback"].includes(move.stage);

function wayOf(slot) {
  const move = stages.get(moving.get(slot));
  if (!move || !isUnderWay(move)) return null;
  return { target: move.stage === "rollback" ? move.source : move.target };
}

function slotAt(event) {
  const column = Math.floor(event.offsetX / cells.size);
  const slot = Math.floor(event.offsetY / cells.size) * cells.columns + column;
  return column >= 0 && column < cells.columns && slot >= 0 && slot < SLOTS ? slot : null;
}

function draw() {
  const map = $("map");
  const width = map.clientWidth;
  if (!width || !owners.length) return;
  const columns = width >= 700 ? 120 : 60;
  const size = width / columns;
  const scale = window.devicePixelRatio || 1;
  cells = { columns, size };
  const height = Math.round((SLOTS / columns) * size);
  if (map.width !== Math.round(width * scale) || map.height !== Math.round(height * scale)) {
    map.width = Math.round(width * scale);
    map.height = Math.round(height * scale);
    map.style.height = `${height}px`;
  }
  const pen = map.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const text = getComputedStyle(map).color;
  owners.forEach((owner, slot) => {
    const [x, y] = [(slot % columns) * size, Math.floor(slot / columns) * size];
    pen.globalAlpha = only === null || only === owner ? 1 : 0.15;
    cell(pen, owner, x, y, size, wayOf(slot));
  });
  pen.globalAlpha = 1;
  if (cursor !== null) {
    pen.strokeStyle = text;
    pen.lineWidth = 2;
    pen.strokeRect((cursor % columns) * size - 1, Math.floor(cursor / columns) * size - 1, size + 2, size + 2);
  }
}

function cell(pen, shard, x, y, size, way) {
  const gap = size > 6 ? 1 : 0.5;
  const side = size - gap;
  pen.fillStyle = colour(shard);
  pen.strokeStyle = pen.fillStyle;
  switch (SHAPES[shard % SHAPES.length]) {
    case "full":
      pen.fillRect(x, y, side, side);
      break;
    case "small":
      pen.fillRect(x + side * 0.18, y + side * 0.18, side * 0.64, side * 0.64);
      break;
    case "ring":
      pen.lineWidth = side * 0.26;
      pen.strokeRect(x + side * 0.15, y + side * 0.15, side * 0.7, side * 0.7);
      break;
    default:
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x + side, y + side);
      pen.lineTo(x, y + side);
      pen.fill();
  }
  if (!way) return;
  // Stripes of where it goes.
  pen.strokeStyle = colour(way.target);
  pen.lineWidth = side * 0.3;
  pen.beginPath();
  pen.moveTo(x, y + side);
  pen.lineTo(x + side, y);
  pen.stroke();
}

/** The legend, the table, and the picture's description. */
function words() {
  const shards = [...new Set(owners)].sort((a, b) => a - b);
  const rows = shards.map((shard) => {
    const own = owners.map((owner, slot) => (owner === shard ? slot : -1)).filter((slot) => slot >= 0);
    return { shard, own, leaving: own.filter((slot) => wayOf(slot)).length };
  });
  $("map").setAttribute("aria-label", `Map of the 5,040 slots: ${rows.map((row) => `shard ${row.shard} owns ${count(row.own.length)}${row.leaving ? `, of which ${count(row.leaving)} are on their way elsewhere` : ""}`).join("; ")}`);
  const cellOf = (text) => make("td", {}, text);
  $("map-table").replaceChildren(...rows.map((row) => make("tr", {}, make("th", { scope: "row" }, String(row.shard)), cellOf(count(row.own.length)), cellOf(count(row.leaving)), cellOf(row.own.slice(0, 8).join(", ") + (row.own.length > 8 ? " …" : "")))));
  const legend = $("legend");
  while (legend.children.length > rows.length) legend.lastChild.remove();
  while (legend.children.length < rows.length) legend.append(chip());
  rows.forEach((row, place) => {
    const button = legend.children[place].firstChild;
    button.dataset.shard = row.shard;
    button.setAttribute("aria-pressed", String(only === row.shard));
    const pen = button.firstChild.getContext("2d");
    pen.clearRect(0, 0, 28, 28);
    cell(pen, row.shard, 0, 0, 28, null);
    say(button.lastChild, `shard ${row.shard}: ${count(row.own.length)}`);
  });
}

function chip() {
  const sample = make("canvas", { width: 28, height: 28, "aria-hidden": "true" });
  const button = make("button", { type: "button" }, sample, make("span"));
  button.addEventListener("click", () => {
    const shard = Number(button.dataset.shard);
    only = only === shard ? null : shard;
    words();
    draw();
  });
  return make("li", {}, button);
}
