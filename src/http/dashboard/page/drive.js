// The drive of one user: a folder by page, the unfiled files and the trash; by mouse, by touch and by keyboard.

import { $, announce, attempt, bytes, call, count, make, onSubmit, say } from "./api.js";
import { point } from "./slots.js";

const PAGE = 100;
/** The most pages that one search for unfiled files reads: they stand among all files of the user. */
const SEARCHED = 10;
const VIEWS = {
  folders: { read: readFolder, time: "Changed", empty: "This folder is empty." },
  unfiled: { read: readUnfiled, time: "Stored", empty: "No file is without a folder." },
  trash: { read: readTrash, time: "In the trash since", empty: "The trash is empty." },
};
const ACTS = { rename, trash, restore, create, empty };
const KEYS = { F2: "rename", Delete: "trash" };

let user = "0";
let view = "folders";
let folder = null;
let entries = [];
let next = null;
let turn = 0;

export function setup() {
  onSubmit("find-form", "found", find);
  onSubmit("path-form", "done", ({ path }) => jump(path));
  $("views").addEventListener("click", ({ target }) => target.dataset.view && go(() => show(target.dataset.view)));
  $("more").addEventListener("click", () => go(more));
  $("acts").addEventListener("click", ({ target }) => target.dataset.act && act(target.dataset.act));
  $("files").addEventListener("click", ({ target }) => {
    choose(rowOf(target), true);
    if (target.closest(".open")) open();
  });
  $("files").addEventListener("dblclick", open);
  $("files").addEventListener("keydown", press);
}

async function find({ user_id }) {
  $("drive").hidden = true;
  user = String(BigInt(user_id));
  const { files, text } = await summary();
  await show("folders");
  // A drive without a tree begins with what is there.
  if (entries.length === 0 && files > 0) await show("unfiled");
  $("drive").hidden = false;
  say($("done"), "");
  return text;
}

async function summary() {
  const { data } = await call(`drives/${user}`);
  const slot = Number(BigInt(user) % 5040n);
  point(slot);
  const number = (many, what) => `${count(many)} ${what}${many === 1 ? "" : "s"}`;
  const held = `${number(data.folders, "folder")}, ${number(data.files, "file")}${data.trashed ? `, ${count(data.trashed)} in the trash` : ""}`;
  return { files: data.files, text: `User ${user} is in slot ${slot} on shard ${data.shard_id}: ${held}.` };
}

const after = (cursor) => (cursor ? `&cursor=${encodeURIComponent(cursor)}` : "");
const byId = () => (folder ? `folder_id=${folder.folder_id}` : "path=");
const byPath = (path) => `path=${encodeURIComponent(path)}`;

function readFolder(where, cursor) {
  return call(`drives/${user}/children?${where}&limit=${PAGE}${after(cursor)}`);
}

function readTrash(_, cursor) {
  return call(`drives/${user}/trash?limit=${PAGE}${after(cursor)}`);
}

async function readUnfiled(_, cursor) {
  const found = [];
  for (let searched = 0; searched < SEARCHED && found.length < PAGE; searched++) {
    const page = await call(`query/${user}?limit=1000${after(cursor)}`);
    found.push(...page.files.filter((file) => file.folder_id === null).map(asEntry));
    cursor = page.next_cursor;
    if (!cursor) break;
  }
  return { entries: found, next_cursor: cursor };
}

function asEntry(file) {
  return { ...file, kind: "file", id: file.file_id, name: file.file_name };
}

/** Shows a view from its first page on, and chooses the entry of this name; `where` names the folder. */
async function show(wanted, where = "path=", name = null) {
  const mine = ++turn;
  const page = await VIEWS[wanted].read(where);
  if (mine === turn) draw(wanted, page, name);
}

/** What is at a path: the folder, or the file alone. */
async function jump(path) {
  try {
    await show("folders", byPath(path));
  } catch (error) {
    if (error.code !== "not_a_folder") throw error;
    const names = path.split("/").filter(Boolean);
    const mine = turn;
    const { data } = await call(`drives/${user}/path/${names.map(encodeURIComponent).join("/")}`);
    const around = { folder_id: data.folder_id, path: names.slice(0, -1).join("/") };
    if (mine === turn) draw("folders", { folder: around, entries: [asEntry(data)], next_cursor: null }, null);
  }
  return "";
}

async function more() {
  const mine = ++turn;
  const page = await VIEWS[view].read(byId(), next);
  if (mine !== turn) return;
  const known = entries.length;
  entries.push(...page.entries);
  next = page.next_cursor;
  $("files").append(...page.entries.map(row));
  const left = document.activeElement === $("more") && !next;
  $("more").hidden = !next;
  choose($("files").rows[Math.min(known, entries.length - 1)], left);
  announce(`${count(page.entries.length)} more.`);
}

function draw(wanted, page, name) {
  [view, folder, entries, next] = [wanted, page.folder ?? null, page.entries, page.next_cursor];
  const focused = $("files").contains(document.activeElement);
  for (const button of $("views").children) button.setAttribute("aria-pressed", button.dataset.view === view);
  for (const button of $("acts").children) button.hidden = !button.dataset.for.split(" ").includes(view);
  say($("time"), VIEWS[view].time);
  $("path-form").elements.path.value = folder?.path ?? "";
  $("crumbs").replaceChildren(...crumbs());
  const empty = make("tr", { role: "row" }, make("td", { role: "gridcell", colspan: 3, class: "hint" }, VIEWS[view].empty));
  $("files").replaceChildren(...(entries.length ? entries.map(row) : [empty]));
  $("more").hidden = !next;
  choose($("files").rows[Math.max(0, entries.findIndex((entry) => entry.name === name))], focused);
  announce(`${folder?.path || { folders: "The root", unfiled: "Unfiled files", trash: "The trash" }[view]}: ${entries.length === 0 ? "empty" : `${count(entries.length)}${next ? " or more" : ""}`}.`);
}

function crumbs() {
  if (!folder) return [];
  const names = folder.path.split("/").filter(Boolean);
  return ["Drive", ...names].map((name, depth) => {
    const button = make("button", { type: "button", ...(depth === names.length && { "aria-current": "location" }) }, name);
    button.addEventListener("click", () => go(() => show("folders", byPath(names.slice(0, depth).join("/")), names[depth])));
    return make("li", {}, button);
  });
}

function row(entry) {
  const is_folder = entry.kind === "folder";
  const name = view === "trash" ? entry.path ?? entry.name : entry.name;
  const time = { folders: entry.modified_at ?? entry.updated_at, unfiled: entry.created_at, trash: entry.trashed_at }[view];
  const cell = (...children) => make("td", { role: "gridcell" }, ...children);
  return make("tr", { role: "row", tabindex: -1 },
    cell(make("span", is_folder && view === "folders" ? { class: "open" } : {}, name)),
    cell(is_folder ? "folder" : bytes(entry.size_bytes)),
    cell(new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })));
}

const rowOf = (element) => element.closest("#files tr");
const chosenRow = () => $("files").querySelector("[aria-selected=true]");
const chosen = () => entries[chosenRow()?.sectionRowIndex];

/** Makes a row the one that has the turn of Tab, and that buttons and keys mean. */
function choose(row, focus) {
  if (!row) return;
  const before = chosenRow();
  before?.setAttribute("aria-selected", "false");
  before?.setAttribute("tabindex", "-1");
  row.setAttribute("aria-selected", "true");
  row.setAttribute("tabindex", "0");
  if (focus) row.focus();
  for (const button of $("acts").children) button.disabled = button.dataset.act !== "create" && !chosen();
}

function press(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const rows = $("files").rows;
  const at = chosenRow().sectionRowIndex;
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  const done = { Enter: open, ArrowRight: open, Backspace: up, ArrowLeft: up }[event.key];
  const button = KEYS[event.key] && $("acts").querySelector(`[data-act=${KEYS[event.key]}]`);
  if (to === rows.length && next) go(more);
  else if (to !== undefined) choose(rows[to], true);
  else if (done) done();
  else if (button && !button.hidden) button.click();
  else return;
  event.preventDefault();
}

function open() {
  const entry = chosen();
  if (view === "folders" && entry?.kind === "folder") go(() => show("folders", `folder_id=${entry.id}`));
}

function up() {
  const names = folder?.path.split("/") ?? [""];
  const name = names.pop();
  if (name) go(() => show("folders", byPath(names.join("/")), name));
}

/** Does something that shows its outcome by itself. */
function go(work) {
  attempt($("drive"), $("done"), async () => { await work(); return ""; });
}

function act(name) {
  const entry = chosen();
  if ($("drive").ariaBusy === "true" || (!entry && name !== "create")) return;
  attempt($("drive"), $("done"), async () => {
    const [text, shown] = (await ACTS[name](entry)) ?? ["", null];
    if (!text) return "";
    await show(view, byId(), shown);
    summary().then((now) => say($("found"), now.text), () => {}); // the numbers may come later, or not
    return text;
  });
}

async function rename({ kind, id, name }) {
  const wanted = prompt(`The new name of ${name}:`, name);
  if (!wanted || wanted === name) return null;
  await call(`${kind}s/${id}?user_id=${user}`, JSON.stringify({ [`${kind}_name`]: wanted }), "PATCH");
  return [`${name} is now ${wanted}.`, wanted];
}

async function trash({ kind, id, name }) {
  const path = [...folder.path.split("/").filter(Boolean), name].map(encodeURIComponent).join("/");
  await call(kind === "folder" ? `folders/${id}?user_id=${user}` : `drives/${user}/path/${path}`, undefined, "DELETE");
  return [`${name} is in the trash.`, null];
}

async function restore({ id, name }, place = {}) {
  try {
    const { data } = await call(`drives/${user}/trash/${id}/restore`, JSON.stringify(place));
    return [`${data.path} is back.`, null];
  } catch (error) {
    const wanted = error.code === "name_taken" && prompt("Another entry has this name. The name from now on:", name);
    if (!wanted) throw error;
    return restore({ id, name: wanted }, { name: wanted });
  }
}

async function empty() {
  if (!confirm(`Delete everything in the trash of user ${user} for good?`)) return null;
  let purged = 0;
  // A call deletes what its time allows.
  for (let more = true; more;) {
    const done = await call(`drives/${user}/trash`, undefined, "DELETE");
    purged += done.purged;
    more = done.more;
  }
  return [`The trash is empty: ${count(purged)} deleted for good.`, null];
}

async function create() {
  const name = prompt("The name of the new folder:", "");
  if (!name) return null;
  await call(`drives/${user}/folders`, JSON.stringify({ parent_id: folder.folder_id, folder_name: name }));
  return [`${name} is made.`, name];
}
