// The charts, each drawn from rows. The page shows the same numbers beside each chart, as text or as a table.

import { afterClose, band, CENTRAL_BANDS, LENGTH_MS, percent, price, signed } from "./words.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const CONFIG = { displaylogo: false, displayModeBar: false, responsive: true, scrollZoom: false };
const DRAG = { dragmode: false };
// Of the bands' fills, from the widest band to the narrowest.
const OPACITIES = [0.16, 0.24, 0.36];

function layout(more) {
  const axis = { gridcolor: colour("line"), zerolinecolor: colour("soft"), automargin: true, fixedrange: true };
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    ...DRAG,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("ink"), family: "system-ui, DejaVu Sans, sans-serif", size: 13 },
    margin: { l: 8, r: 8, t: 8, b: 8 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...rest,
  };
}

function draw(id, traces, more, label) {
  const node = document.getElementById(id);
  node.setAttribute("aria-label", label);
  return Plotly.react(node, traces, layout(more), CONFIG);
}

/** Candles around an origin, the forecast from it, and the actual closes after it. A daily candle, and the forecast of
 * one, stands at its day; a shorter one at its close. */
export function drawFan(candles, bands, origin, { interval, quote }) {
  const daily = interval === "d";
  const moved = (text, ms) => new Date(Date.parse(text) + ms).toISOString();
  const placeOf = (open) => (daily ? open : moved(open, LENGTH_MS[interval]));
  const start = daily ? moved(origin, -LENGTH_MS.d) : origin;
  const hover = daily ? "%{x|%a %Y-%m-%d}" : "%{x|%Y-%m-%d %H:%M}";
  const before = candles.filter((candle) => candle.close_time <= origin);
  const after = candles.filter((candle) => candle.close_time > origin);
  const last = before.at(-1);
  const x = [...(last ? [start] : []), ...bands.map((row) => placeOf(row.target_time))];
  const along = (name) => [...(last ? [last.close] : []), ...bands.map((row) => row[name])];
  const edge = (y, more) => ({
    type: "scatter", mode: "lines", x, y, line: { width: 0 }, hoverinfo: "skip", showlegend: false, ...more,
  });
  // Widest first, so that the narrower ones are drawn over it.
  const fan = [...CENTRAL_BANDS].reverse();
  const traces = fan.flatMap(({ low, high, percent: share }, at) => [
    edge(along(low), { legendgroup: share }),
    edge(along(high), {
      fill: "tonexty", fillcolor: faded(colour("accent"), OPACITIES[at]), name: `${share} % band`, showlegend: true,
      legendgroup: share,
    }),
  ]);
  traces.push({
    type: "scatter", mode: "lines+markers", x, y: along("q50"), name: "median",
    line: { color: colour("accent"), width: 2, dash: "dot" }, marker: { size: 5 },
    hovertemplate: `${hover}<br>median %{y:,.6~g} ${quote}<extra></extra>`,
  });
  traces.push(candlestick(before, placeOf));
  if (after.length) {
    traces.push({
      type: "scatter", mode: "lines+markers", name: "actual close",
      x: [start, ...after.map((candle) => placeOf(candle.open_time))],
      y: [last.close, ...after.map((candle) => candle.close)],
      line: { color: colour("ink"), width: 2 }, marker: { size: 7, symbol: "diamond" },
      hovertemplate: `${hover}<br>actual close %{y:,.6~g} ${quote}<extra></extra>`,
    });
  }
  const first = bands[0];
  const label = first
    ? `Candles and the forecast by ${first.model} ${afterClose(origin, interval)}: the median of step ${bands.at(-1).step} is ` +
      `${price(bands.at(-1).q50)} ${quote}, its 80 % band ${band(bands.at(-1), "q10", "q90")} ${quote}. ` +
      "The table below has every number."
    : "Candles";
  const line = { type: "line", x0: start, x1: start, y0: 0, y1: 1, yref: "paper" };
  return draw("fan", traces, {
    xaxis: { type: "date", rangeslider: { visible: false }, hoverformat: daily ? "%a %Y-%m-%d" : "%Y-%m-%d %H:%M" },
    yaxis: { side: "right", tickformat: ",.6~g", title: { text: `price, ${quote}` } },
    shapes: [{ ...line, line: { color: colour("soft"), width: 1, dash: "dash" } }],
    hovermode: "closest",
  }, label);
}

function candlestick(rows, placeOf) {
  const column = (key) => rows.map((row) => row[key]);
  return {
    type: "candlestick", name: "candles", x: column("open_time").map(placeOf), open: column("open"), high: column("high"),
    low: column("low"), close: column("close"),
    increasing: { line: { color: colour("up"), width: 1 } }, decreasing: { line: { color: colour("down"), width: 1 } },
  };
}

function faded(hex, opacity) {
  const part = (at) => parseInt(hex.slice(at, at + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
}

/** Skill per step, in `unit`, with its 95 % interval. */
export function drawSkill(rows, unit) {
  const y = rows.map((row) => 100 * row.skill);
  const reach = rows.map((row) => (row.skill_high === null ? 0 : 100 * (row.skill_high - row.skill)));
  const words = rows.map((row) => `step ${row.step} ${signed(row.skill)}`).join(", ");
  return draw("skill", [{
    type: "scatter", mode: "markers", x: rows.map((row) => row.step), y,
    error_y: { type: "data", array: reach, color: colour("accent"), thickness: 2, width: 6 },
    marker: { color: colour("accent"), size: 10 },
    hovertemplate: "step %{x}: %{y:.2f} %<extra></extra>",
  }], {
    showlegend: false,
    xaxis: { title: { text: `step, ${unit}` }, dtick: 1 },
    yaxis: { title: { text: "skill against naive, %" }, zeroline: true, zerolinewidth: 2, rangemode: "tozero" },
  }, rows.length ? `Skill against naive by step: ${words}` : "No skill to show");
}

/** The share of closes inside each band per step, in `unit`, beside the band's nominal share. */
export function drawCoverage(rows, unit) {
  const steps = rows.map((row) => row.step);
  const marks = { coverage50: "circle", coverage80: "square", coverage95: "triangle-up" };
  const shares = CENTRAL_BANDS.map((one) => one.percent);
  const traces = shares.map((promised) => ({
    type: "scatter", mode: "lines+markers", name: `${promised} % band`, x: steps,
    y: rows.map((row) => 100 * row[`coverage${promised}`]),
    line: { color: colour("accent"), width: 1 },
    marker: { color: colour("accent"), size: 9, symbol: marks[`coverage${promised}`] },
    hovertemplate: "step %{x}: %{y:.1f} %<extra></extra>",
  }));
  const promise = (y) => ({
    type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour("soft"), width: 1, dash: "dash" },
  });
  const first = rows[0];
  return draw("coverage", traces, {
    shapes: shares.map(promise),
    xaxis: { title: { text: `step, ${unit}` }, dtick: 1 },
    yaxis: { title: { text: "closes inside the band, %" }, range: [0, 102] },
  }, first
    ? `Coverage at step 1: the 50 % band held ${percent(first.coverage50)} of closes, the 80 % band ` +
      `${percent(first.coverage80)}, the 95 % band ${percent(first.coverage95)}`
    : "No coverage to show");
}

/** The calibration histogram: `counts` of ten equal parts. */
export function drawPit(counts) {
  const n = counts.reduce((sum, count) => sum + count, 0);
  const shares = counts.map((count) => (n ? (100 * count) / n : 0));
  return draw("pit", [{
    type: "bar", x: counts.map((_, part) => `${10 * part}–${10 * part + 10}`), y: shares,
    marker: { color: colour("accent") }, hovertemplate: "%{x} %: %{y:.1f} % of closes<extra></extra>",
  }], {
    showlegend: false, bargap: 0.05,
    xaxis: { title: { text: "place in the forecast distribution, %" }, type: "category" },
    yaxis: { title: { text: "closes, %" }, rangemode: "tozero" },
    shapes: [{
      type: "line", xref: "paper", x0: 0, x1: 1, y0: 10, y1: 10, line: { color: colour("soft"), dash: "dash", width: 2 },
    }],
  }, `Calibration: ${shares.map((share) => share.toFixed(0)).join(", ")} % of closes by tenth`);
}
