// Every series at a glance: a table that sorts by any column, with a small fan of the next steps in each row.

import { rows } from "./api.js";
import { afterClose, age, band, closeDay, price, signed } from "./words.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 96, HEIGHT = 28;
let shown = [];
let order = { column: "series", down: false };

// What each column sorts by. Rows without a value come last in both directions.
const KEYS = {
  series: (row) => row.series, close: (row) => row.close, band: (row) => row.width, width: (row) => row.width_ratio,
  champion: (row) => row.champion, skill: (row) => row.skill, data: (row) => row.last_close,
  attention: (row) => row.attention,
};

/** Load and show all series; `now` is in milliseconds. */
export async function showGlance(now) {
  const [series, steps] = await Promise.all([rows("glance"), rows("forecasts/latest")]);
  const fans = Map.groupBy ? Map.groupBy(steps, (row) => row.series) : grouped(steps);
  shown = series.map((row) => ({ row, line: lineOf(row, fans.get(row.series) ?? [], now) }));
  const needing = series.filter((row) => row.attention !== null).length;
  $("glance-count").textContent = `${series.length.toLocaleString("en")} series` +
    (needing ? `, ${needing.toLocaleString("en")} of which need${needing === 1 ? "s" : ""} a person.` : ". None needs a person.");
  sort();
  $("glance").dataset.series = series.length;
  return series.length;
}

function grouped(steps) {
  const groups = new Map();
  for (const row of steps) groups.set(row.series, [...(groups.get(row.series) ?? []), row]);
  return groups;
}

function lineOf(row, steps, now) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  const link = document.createElement("a");
  link.href = `#${encodeURIComponent(row.series)}`;
  link.textContent = row.series;
  name.append(link);
  line.append(name);
  const cell = (...content) => {
    const td = line.insertCell();
    td.append(...content.flatMap((part) => (typeof part === "string" ? withWholeDays(part) : part)));
    return td;
  };
  cell(row.close === null ? "–" : `${price(row.close)} ${row.quote}`);
  // A forecast that knew another close than the newest says which one.
  const older = () => (row.origin === row.last_close ? "" : `, ${afterClose(row.origin, row.interval)}`);
  cell(row.q50 === null ? "no forecast yet" : `${band(row, "q10", "q90")} ${row.quote}${older()}`);
  cell(steps.length && row.close !== null ? fan(steps, row) : "–");
  cell(row.width_ratio === null ? "–" : `${row.width_ratio.toFixed(2)} ×`);
  cell(row.champion ?? "–");
  cell(row.skill === null ? "–" : `${signed(row.skill)} (${row.skill_kind}, ${row.skill_n.toLocaleString("en")})`);
  cell(row.last_close === null ? "no closed candle"
    : `${closeDay(row.last_close, row.interval)}, ${age(now - Date.parse(row.last_close))} ago`);
  const mark = cell(row.attention === null ? "–" : `⚠ ${row.attention}`);
  if (row.attention !== null) mark.className = "attention";
  return line;
}

/** The parts of a text whose days no line break divides at a hyphen. */
function withWholeDays(text) {
  return text.split(/(\d{4}-\d\d-\d\d)/).map((part, at) => {
    if (at % 2 === 0) return part;
    const day = document.createElement("span");
    day.className = "day";
    day.textContent = part;
    return day;
  });
}

/** The next steps' 80 and 50 % bands around the median, from the last close on. */
function fan(steps, { close, quote }) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("class", "fan");
  svg.setAttribute("role", "img");
  const last = steps.at(-1);
  svg.setAttribute("aria-label", `80 % band of step ${last.step}: ${band(last, "q10", "q90")} ${quote}`);
  const low = Math.min(close, ...steps.map((row) => row.q10));
  const high = Math.max(close, ...steps.map((row) => row.q90));
  const x = (at) => ((WIDTH * at) / steps.length).toFixed(1);
  const y = (value) => (HEIGHT - 2 - ((HEIGHT - 4) * (value - low)) / (high - low || 1)).toFixed(1);
  const along = (name) => [[0, close], ...steps.map((row, at) => [at + 1, row[name]])].map(([at, value]) => `${x(at)},${y(value)}`);
  for (const [lower, upper] of [["q10", "q90"], ["q25", "q75"]]) {
    const area = document.createElementNS(SVG, "polygon");
    area.setAttribute("points", [...along(lower), ...along(upper).reverse()].join(" "));
    svg.append(area);
  }
  const middle = document.createElementNS(SVG, "polyline");
  middle.setAttribute("points", along("q50").join(" "));
  svg.append(middle);
  return svg;
}

function sort() {
  const key = KEYS[order.column];
  const sign = order.down ? -1 : 1;
  const compared = (a, b) => {
    const [one, other] = [key(a.row), key(b.row)];
    if (one === null || other === null) return (one === null) - (other === null);
    return one < other ? -sign : one > other ? sign : a.row.series < b.row.series ? -1 : 1;
  };
  $("glance-table").tBodies[0].replaceChildren(...shown.toSorted(compared).map(({ line }) => line));
  for (const button of document.querySelectorAll("#glance-table button")) {
    const mine = button.dataset.column === order.column;
    button.closest("th").setAttribute("aria-sort", mine ? (order.down ? "descending" : "ascending") : "none");
  }
}

for (const button of document.querySelectorAll("#glance-table button")) {
  button.onclick = () => {
    order = { column: button.dataset.column, down: order.column === button.dataset.column && !order.down };
    sort();
  };
}
