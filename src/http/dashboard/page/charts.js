// Line charts of the last minutes, drawn as SVG.

import { $, make, say } from "./api.js";

const SPAN = 180_000;
const [HEIGHT, LEFT, BOTTOM, TOP] = [130, 4, 18, 16];
/** The charts are as wide as there is room; drawn anew when that changes. */
let width = 300;

const rate = (number) => `${number >= 100 ? Math.round(number) : number.toFixed(1)}/s`;
const time = (number) => (number >= 1000 ? `${(number / 1000).toFixed(1)} s` : `${number.toFixed(number < 10 ? 1 : 0)} ms`);

const CHARTS = [
  { title: "Requests", show: rate, least: 5, lines: [["all", (point) => point.requests]] },
  { title: "Errors", show: rate, least: 1, lines: [["4xx", (point) => point.refused], ["5xx", (point) => point.failed]] },
  { title: "Latency", show: time, least: 2, lines: [["p50", (point) => point.p50_ms], ["p99", (point) => point.p99_ms]] },
];

let points = [];
let drawn = [];

export function setup() {
  drawn = CHARTS.map((chart) => {
    const values = make("span");
    const svg = make("svg", { class: "chart", role: "img" });
    const top = make("text", { x: LEFT, y: 11 });
    const paths = chart.lines.map((_, index) => make("path", { class: index ? "second" : "first" }));
    svg.append(
      make("line", { class: "grid", x1: 0, x2: "100%", y1: TOP, y2: TOP }),
      make("line", { class: "grid", x1: 0, x2: "100%", y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM }),
      top,
      make("text", { x: LEFT, y: HEIGHT - 4 }, "3 min ago"),
      make("text", { x: "100%", dx: -LEFT, y: HEIGHT - 4, "text-anchor": "end" }, "now"),
      ...paths,
    );
    const caption = make("figcaption", {}, make("b", {}, chart.title), values);
    const keys = chart.lines.map(([name], index) => {
      const value = make("span");
      values.append(make("span", {}, make("i", { class: index ? "key second" : "key" }), value));
      return { name, value };
    });
    $("charts").append(make("figure", {}, caption, svg));
    return { ...chart, svg, top, paths, keys };
  });
  new ResizeObserver(([first]) => {
    width = first.contentRect.width || width;
    draw();
  }).observe(drawn[0].svg);
}

export function history(all) {
  points = all;
  draw();
}

export function add(point) {
  if (!point || point.at <= (points.at(-1)?.at ?? 0)) return;
  points.push(point);
  points = points.filter((old) => old.at > point.at - SPAN - 2000);
  draw();
}

function draw() {
  const now = points.at(-1)?.at ?? 0;
  for (const chart of drawn) {
    const values = chart.lines.map(([, value]) => points.map((point) => ({ at: point.at, value: value(point) })));
    const highest = Math.max(chart.least, ...values.flat().map((point) => point.value ?? 0));
    say(chart.top, chart.show(highest));
    const words = values.map((line, index) => {
      const x = (at) => width - LEFT - ((now - at) / SPAN) * (width - 2 * LEFT);
      const y = (value) => HEIGHT - BOTTOM - (value / highest) * (HEIGHT - BOTTOM - TOP);
      chart.paths[index].setAttribute("d", path(line, x, y));
      const latest = line.at(-1)?.value;
      const text = `${chart.keys[index].name} ${latest === null || latest === undefined ? "–" : chart.show(latest)}`;
      say(chart.keys[index].value, text);
      return text;
    });
    chart.svg.setAttribute("aria-label", `${chart.title} now: ${words.join(", ")}; at most ${chart.show(highest)} in three minutes`);
  }
}

/** A line from value to value. After a quarter of a minute without any it begins anew, with a dot. */
function path(line, x, y) {
  let text = "";
  let before = null;
  for (const { at, value } of line) {
    if (value === null || at < line.at(-1).at - SPAN) continue;
    const place = `${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    text += before === null || at - before > 15_000 ? `M${place}h.1` : `L${place}`;
    before = at;
  }
  return text;
}
