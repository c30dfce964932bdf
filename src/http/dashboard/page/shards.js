// The shards, a card each; and the cache.

import { $, announce, bytes, count, make, mark, say } from "./api.js";
import { colour } from "./slots.js";

const FACTS = ["Files", "Size", "Documents", "Slots", "Share", "Pool"];
const cards = new Map();

export function show(state) {
  const held = (shard) => (shard.files ?? 0) + (shard.documents ?? 0);
  const all = state.shards.reduce((sum, shard) => sum + held(shard), 0);
  for (const shard of state.shards) {
    if (!cards.has(shard.id)) cards.set(shard.id, card(shard.id));
    fill(cards.get(shard.id), shard, all ? held(shard) / all : 0);
  }
  const answered = state.shards.every((shard) => shard.files !== null);
  const [files, documents] = ["files", "documents"].map((what) => state.shards.reduce((sum, shard) => sum + (shard[what] ?? 0), 0));
  say($("totals"), `${answered ? "" : "at least "}${count(files)} files, ${count(documents)} documents`);
  say($("counted"), state.counts_age === null ? "" : `Slot map at epoch ${count(state.epoch)}. Rows are counted every few seconds; states are those of this second.`);
  return { empty: answered && state.counts_age !== null && all === 0 };
}

function card(id) {
  const pill = make("span", { class: "pill" });
  const place = make("p", { class: "hint" });
  const facts = FACTS.map((name) => [make("dt", {}, name), make("dd", {}, "–")]);
  const share = make("span");
  const list = make("dl", { class: "facts" }, ...facts.map((pair) => make("div", {}, ...pair)));
  const root = make("article", { class: "shard", role: "listitem", "aria-labelledby": `shard-${id}` },
    make("h3", {}, make("span", { id: `shard-${id}` }, `Shard ${id}`), pill), place, list,
    make("div", { class: "bar", "aria-hidden": "true" }, share));
  share.style.background = colour(id);
  $("shards").append(root);
  return { root, pill, place, share, values: facts.map(([, value]) => value), word: null };
}

function fill(card, shard, share) {
  const [state, word] = judge(shard);
  if (card.word !== null && card.word !== word) announce(`Shard ${shard.id} is ${word}.`);
  card.word = word;
  mark(card.root, "state", state);
  mark(card.pill, "state", state);
  say(card.pill, word);
  say(card.place, shard.place);
  const pool = `${shard.pool.in_use} of ${shard.pool.limit} in use${shard.pool.waiting ? `, ${shard.pool.waiting} wait` : ""}`;
  const texts = [
    count(shard.files), bytes(shard.file_bytes === null ? null : shard.file_bytes + shard.document_bytes),
    count(shard.documents), count(shard.slots), shard.files === null ? "–" : `${(share * 100).toFixed(1)} %`, pool,
  ];
  texts.forEach((text, place) => say(card.values[place], text));
  card.share.style.width = `${share * 100}%`;
}

/** How it is, in a word: unreachable if calls are refused, also while the health check has not said so yet. */
function judge(shard) {
  if (shard.state !== "healthy" || shard.circuit === "open") return ["bad", "unreachable"];
  if (shard.circuit === "half-open") return ["warn", "on trial"];
  return shard.takes_writes ? ["good", "healthy"] : ["warn", "read-only"];
}

let cacheFacts = null;
let before = null;

export function cache(now) {
  if (!cacheFacts) {
    cacheFacts = ["Cache", "Hit rate", "Hits", "Misses", "Keys"].map((name) => {
      const value = make("dd");
      $("cache").append(make("div", {}, make("dt", {}, name), value));
      return value;
    });
    cacheFacts[0].append(make("span", { class: "pill" }));
  }
  if (before && before !== now.state) announce(`The cache is ${now.state}.`);
  before = now.state;
  const asked = now.hits + now.misses;
  const pill = cacheFacts[0].firstChild;
  mark(pill, "state", { healthy: "good", unhealthy: "bad" }[now.state] ?? "off");
  say(pill, now.state);
  [asked ? `${((now.hits / asked) * 100).toFixed(1)} %` : "–", count(now.hits), count(now.misses), count(now.keys)]
    .forEach((text, place) => say(cacheFacts[place + 1], text));
}
