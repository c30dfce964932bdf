// Calls to the service, signed with the token of this tab; and what all parts of the page need to show an answer.

const KEY = "shardrive-token";

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

export function headers() {
  return token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
}

/** Asks the service; `body` is JSON text. Throws an Error whose text is for people, with the code of the problem. */
export async function call(path, body, method = body === undefined ? "GET" : "POST") {
  const options = { method, headers: headers(), cache: "no-store" };
  if (body !== undefined) {
    options.body = body;
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer.");
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch { /* not ours: a proxy in between answers */ }
  if (response.ok) return answer;
  const why = answer.detail ?? answer.title ?? `status ${response.status}`;
  const hint = { 401: " Paste a token above.", 403: " Another token may: paste it above." }[response.status] ?? "";
  if (hint) document.dispatchEvent(new CustomEvent("refused", { detail: why }));
  throw Object.assign(new Error(`${why}${hint}`), { code: answer.code });
}

/** Runs `work` with the fields of a form that is sent, and shows its text, or why it failed. */
export function onSubmit(id, answer, work) {
  $(id).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt($(id), $(answer), () => work(Object.fromEntries(new FormData($(id))), event.submitter));
  });
}

export async function attempt(busy, output, work) {
  busy.setAttribute("aria-busy", "true");
  try {
    say(output, await work());
    mark(output, "state", "good");
  } catch (error) {
    say(output, error.message);
    mark(output, "state", "bad");
  } finally {
    busy.removeAttribute("aria-busy");
  }
}

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children; texts stay texts. */
export function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "title"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Changes a text only if it differs, so that nothing is read out or drawn for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

/** Tells people who do not see the page what has changed. */
export function announce(text) {
  $("news").textContent = text;
}

const whole = new Intl.NumberFormat("en");
export const count = (number) => (number === null || number === undefined ? "–" : whole.format(number));

export function bytes(number) {
  if (number === null || number === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  let unit = 0;
  for (; number >= 1000 && unit < units.length - 1; unit++) number /= 1000;
  return `${number >= 100 || unit === 0 ? Math.round(number) : number.toFixed(1)} ${units[unit]}`;
}

export function seconds(number) {
  if (number < 90) return `${Math.round(number)} s`;
  return number < 5400 ? `${Math.round(number / 60)} min` : `${(number / 3600).toFixed(1)} h`;
}
