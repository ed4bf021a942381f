// The page: it reads the controls, asks the API for the rows of the chosen series, and fills the texts, tables and charts.

import { ApiError, hasToken, keepToken, rows } from "./api.js";
import { answerChanges, askAbout } from "./chance.js";
import { drawCoverage, drawFan, drawPit, drawSkill } from "./charts.js";
import { showGlance } from "./glance.js";
import {
  afterClose, age, band, CENTRAL_BANDS, closeDay, closeName, counted, instant, LENGTH_MS, percent, price, published,
  signed, STEP_UNITS, whenStored,
} from "./words.js";

const CANDLES_BEFORE = 60;
const REQUEST_DELAY_MS = 120;
const $ = (id) => document.getElementById(id);
const state = { series: null, origins: [], skill: [], pit: [], asked: 0, turn: 0, reliabilityTurn: 0 };

const length = () => LENGTH_MS[state.series.interval];
const model = () => $("model").value;
const kind = () => document.querySelector("input[name=kind]:checked").value;
const mine = (row) => row.model === model() && row.kind === kind();
const KINDS = { live: "live", late: "late", backfill: "backfilled" };
const money = (value, like = value) => `${price(value, like)} ${state.series.quote}`;
/** As of when the scores and tables of the chosen series are: every run stores the newest close and scores it. */
const asOf = () => {
  const { last_close: last, interval } = state.series;
  return last === null ? "without a stored close" : `as of the ${closeName(last, interval)}`;
};
const closeOf = (row) => new Date(Date.parse(row.target_time) + length()).toISOString();

function text(id, words) {
  $(id).textContent = words;
}

/** Fill a table's body; the first cell of a row is its heading. */
function fill(id, lines, none) {
  const body = $(id).tBodies[0];
  body.replaceChildren(...lines.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((words, at) => {
      const cell = document.createElement(at ? "td" : "th");
      if (!at) cell.scope = "row";
      cell.textContent = words ?? "–";
      return cell;
    }));
    return row;
  }));
  if (!lines.length) {
    const cell = body.insertRow().insertCell();
    cell.colSpan = $(id).tHead.rows[0].cells.length;
    cell.textContent = none;
  }
}

function options(id, values) {
  $(id).replaceChildren(...values.map((value) => new Option(value, value)));
}

/** Show what the address names: one series, or all of them where it names none that is stored. */
async function start() {
  const turn = ++state.turn;
  const name = decodeURIComponent(location.hash.slice(1));
  if (name === "") return showAll(turn);
  const series = await rows("series");
  if (turn !== state.turn) return;
  if (!series.some((row) => row.name === name)) return showAll(turn);
  options("series", series.map((row) => row.name));
  $("series").value = name;
  $("glance").hidden = true;
  $("series-choice").hidden = $("all").hidden = false;
  await showSeries(series, turn);
}

async function showAll(turn) {
  state.series = null;
  // Rows of a series that are still on their way are no longer wanted.
  state.asked += 1;
  document.title = "candlecast";
  for (const id of ["content", "empty", "notice", "series-choice", "all"]) $(id).hidden = true;
  const n = await showGlance(Date.now());
  if (turn !== state.turn) return;
  if (!n) return showEmpty("The database holds no series yet.");
  $("glance").hidden = false;
}

function showEmpty(why, { command = "candlecast daily", findings = [] } = {}) {
  $("content").hidden = true;
  $("glance").hidden = true;
  $("notice").hidden = true;
  $("empty").hidden = false;
  text("empty-why", why);
  $("empty-findings").replaceChildren(...findings.map(({ message, remedy }) => {
    const item = document.createElement("li");
    item.textContent = `${message}: ${remedy}`;
    return item;
  }));
  text("empty-command", command);
}

async function showSeries(all, turn) {
  state.series = all.find((row) => row.name === $("series").value);
  const series = state.series.name;
  document.title = `${series} · candlecast`;
  const [latest, origins, skill, pit, models, decisions, findings] = await Promise.all([
    rows("forecasts/latest", { series }), rows("origins", { series, limit: 10000 }), rows("skill", { series }),
    rows("calibration", { series }), rows("models", { series }), rows("decisions", { series }),
    rows("findings", { series }),
  ]);
  if (turn !== state.turn) return;
  if (!origins.length) {
    const why = `${series} has ${state.series.candles.toLocaleString("en")} candles and no forecast yet.`;
    // It may be stored only to learn from; then the usual day does not forecast it.
    showEmpty(why, { command: `CANDLECAST_SERIES=${series} candlecast daily`, findings });
    return;
  }
  Object.assign(state, { all: origins, skill, pit });
  $("empty").hidden = true;
  $("content").hidden = false;
  nameUnits();
  showAge();
  const champion = models.find((row) => row.champion);
  const names = [...new Set(origins.map((row) => row.model))].sort();
  options("model", names);
  $("model").value = latest[0]?.model ?? champion?.model ?? names[0];
  await showAskedFor(latest);
  if (turn !== state.turn) return;
  const wanted = latest.length || origins.some((row) => row.model === model() && row.kind === "live") ? "live" : "backfill";
  document.querySelector(`input[name=kind][value=${wanted}]`).checked = true;
  showModels(models, decisions, champion);
  showHealth(findings);
  await showChoice();
}

/** Write the units of the chosen series where the page leaves room for them. */
function nameUnits() {
  const units = { price: state.series.quote, step: STEP_UNITS[state.series.interval] };
  for (const node of document.querySelectorAll("[data-unit]")) node.textContent = `(${units[node.dataset.unit]})`;
}

function showAge() {
  const { last_close: closed, stale, interval } = state.series;
  text("published", published(state.series, Date.now()));
  $("notice").hidden = !stale;
  if (!stale) return;
  text("notice", closed === null
    ? "No closed candle is stored yet."
    : `The data is stale: the newest stored close is that of ${closeDay(closed, interval)}, ` +
      `${age(Date.now() - Date.parse(closed))} ago, and the forecast starts there. ` +
      "Is the schedule running? See: candlecast doctor");
}

/** Where another model was asked for than the one that serves, show its newest live forecast beside the champion's. */
async function showAskedFor(latest) {
  const { asked_for: asked, champion, interval } = state.series;
  $("asked-for").hidden = true;
  if (asked === null || asked === champion) return;
  const { series, origin } = latest[0];
  const turn = state.turn;
  const [first] = await rows("forecasts", { series, origin, model: asked, kind: "live" });
  if (first === undefined || turn !== state.turn) return;
  $("asked-for").hidden = false;
  text("asked-for", `${asked}, which was asked for and does not serve, expects the ${closeName(closeOf(first), interval)} ` +
    `${between(first)} with a chance of 80 %, median ${money(first.q50)}; ${champion}, which serves, ` +
    `${between(latest[0])}, median ${money(latest[0].q50)}; both ${afterClose(origin, interval)}.`);
}

/** Show the chosen model and kind: its origins, the newest of them first, and its scores. */
async function showChoice() {
  for (const each of ["live", "backfill"]) {
    const n = state.all.filter((row) => row.model === model() && row.kind === each).length;
    text(`n-${each}`, `(${counted(n, "forecast")})`);
    document.querySelector(`input[name=kind][value=${each}]`).disabled = !n;
    if (!n && kind() === each) document.querySelector(`input[name=kind]:not([value=${each}])`).checked = true;
  }
  state.origins = state.all.filter(mine).map((row) => row.origin);
  $("origin").max = state.origins.length - 1;
  $("origin").value = state.origins.length - 1;
  showSkill();
  showPit();
  await showOrigin();
}

function nameOrigin() {
  const at = Number($("origin").value);
  const origin = state.origins[at];
  const name = afterClose(origin, state.series.interval);
  text("origin-shown", name);
  $("origin").setAttribute("aria-valuetext", `${name}, ${at + 1} of ${state.origins.length}`);
  $("earlier").disabled = at === 0;
  $("later").disabled = at === state.origins.length - 1;
  $("origin").disabled = state.origins.length === 1;
  return origin;
}

async function showOrigin() {
  const origin = nameOrigin();
  const asked = ++state.asked;
  const { name: series, interval } = state.series;
  const at = (steps) => new Date(Date.parse(origin) + steps * length()).toISOString();
  const [bands, candles] = await Promise.all([
    rows("forecasts", { series, origin, model: model(), kind: kind() }),
    rows("candles", { series, start: at(-CANDLES_BEFORE), end: at(10) }),
  ]);
  // The slider was moved again while these rows were loading.
  if (asked !== state.asked) return;
  const horizon = bands.at(-1)?.target_time ?? origin;
  const near = candles.filter((candle) => candle.open_time <= horizon);
  const actual = new Map(near.map((candle) => [candle.open_time, candle.close]));
  text("outlook", outlook(bands, origin, actual));
  text("stored", kind() === "live" ? whenStored(bands, state.series.interval)
    : `Backfilled: stored ${instant(bands[0].created_at)} UTC from the candles known at the time.`);
  showBands(bands, actual, origin);
  await askAbout(bands, closeOf, state.series);
  if (asked !== state.asked) return;
  text("chance-source", `From the forecast by ${model()}, ${kind()}, ${afterClose(origin, interval)}.`);
  await drawFan(near, bands, origin, state.series);
  $("fan").dataset.origin = origin;
}

const between = (row) => `between ${band(row, "q10", "q90").replace("–", "and")} ${state.series.quote}`;

function outlook(bands, origin, actual) {
  const { interval } = state.series;
  const first = bands[0];
  const last = bands.at(-1);
  const close = actual.get(first.target_time);
  const name = afterClose(origin, interval);
  return `${name[0].toUpperCase()}${name.slice(1)}, ${first.model} expects the ${closeName(closeOf(first), interval)} ` +
    `${between(first)} with a chance of 80 %, median ${money(first.q50)}` +
    (last === first ? "." : `; the ${closeName(closeOf(last), interval)} ${between(last)}.`) +
    (close === undefined ? "" : ` The actual close of step 1 was ${money(close)}.`);
}

function showBands(bands, actual, origin) {
  const { interval } = state.series;
  text("bands-caption", `${model()}, ${kind()}, ${afterClose(origin, interval)}, in ${state.series.quote}`);
  const like = bands[0].q50;
  // A day before the newest stored one that is not there is missing; a later one has not come yet.
  const newest = state.series.last_close ?? origin;
  fill("bands", bands.map((row) => {
    const close = actual.get(row.target_time);
    const inside = CENTRAL_BANDS.find(({ low, high }) => row[low] <= close && close <= row[high]);
    const where = inside ? `inside ${inside.percent} %` : `outside ${CENTRAL_BANDS.at(-1).percent} %`;
    const absent = Date.parse(closeOf(row)) < Date.parse(newest) ? "missing" : "not yet";
    return [row.step, closeDay(closeOf(row), interval), price(row.q50, like),
      ...CENTRAL_BANDS.map(({ low, high }) => band(row, low, high, like)),
      close === undefined ? absent : `${price(close, like)} (${where})`];
  }), "no steps");
}

/** The kind whose scores are shown: the chosen one, or another while the chosen one has none. */
function judgedKind() {
  const order = kind() === "live" ? ["live", "late", "backfill"] : ["backfill", "live", "late"];
  return order.find((which) => state.skill.some((row) => row.model === model() && row.kind === which)) ?? kind();
}

function showSkill() {
  const judged = judgedKind();
  const scores = state.skill.filter((row) => row.model === model() && row.kind === judged);
  const baseline = model() === "naive";
  text("judged-kind", judged !== kind()
    ? `No ${KINDS[kind()]} forecast of ${model()} is scored yet; the scores are those of its ${KINDS[judged]} forecasts.`
    : !scores.length ? `No forecast of ${model()} is scored yet.`
      : baseline ? `The other models are compared with naive, ${asOf()}; its own skill is zero.`
        : `The scores are those of the ${KINDS[judged]} forecasts of ${model()}, ${asOf()}.`);
  text("skill-caption", `${model()}, ${judged}, against naive on the same origins, ${asOf()}`);
  fill("skill-table", scores.map((row) => [
    row.step, row.n.toLocaleString("en"), row.skill === null ? null : signed(row.skill, 2),
    row.skill_low === null ? null : `${signed(row.skill_low, 2)} to ${signed(row.skill_high, 2)}`,
    row.p_value === null ? null : row.p_value < 0.001 ? "< 0.001" : row.p_value.toFixed(3),
    percent(row.coverage50), percent(row.coverage80), percent(row.coverage95),
  ]), "nothing scored yet");
  for (const each of Object.keys(KINDS)) text(`trust-${each}`, trust(each, baseline));
  $("skill-charts").hidden = !scores.length;
  if (!scores.length) return;
  const unit = STEP_UNITS[state.series.interval];
  drawSkill(scores.filter((row) => row.skill !== null), unit);
  drawCoverage(scores, unit);
}

/** One step ahead, in words, of one kind of the chosen model's forecasts. */
function trust(which, baseline) {
  const first = state.skill.find((row) => row.model === model() && row.kind === which);
  // Most markets have no late forecasts, and then there is nothing to say about them.
  if (first === undefined) return which === "late" ? "" : `No ${KINDS[which]} forecast is scored yet.`;
  const n = first.n.toLocaleString("en");
  const held = `the 80 % band held ${percent(first.coverage80, 0)} of the closes`;
  const past = `In ${n} ${KINDS[which]} forecasts one step ahead, ${asOf()},`;
  if (baseline) return `${past} ${held}; it is the baseline.`;
  const size = `${percent(Math.abs(first.skill))} ${first.skill > 0 ? "better" : "worse"} than “tomorrow = today”`;
  const chance = first.skill_low <= 0 && first.skill_high >= 0 ? ", which may be chance" : "";
  const sure = first.skill_low === null
    ? "too few forecasts to exclude chance"
    : `95 % interval ${signed(first.skill_low)} to ${signed(first.skill_high)}${chance}`;
  return `${past} it was ${size} (${sure}), and ${held}.`;
}

function showPit() {
  const judged = judgedKind();
  const tenths = state.pit.filter((row) => row.model === model() && row.kind === judged);
  const steps = [...new Set(tenths.map((row) => row.step))].sort((a, b) => a - b);
  const before = $("pit-step").value;
  options("pit-step", steps);
  if (steps.includes(Number(before))) $("pit-step").value = before;
  $("pit-choice").hidden = $("pit").hidden = !steps.length;
  if (!steps.length) return text("pit-text", `No forecast of ${model()} is scored yet.`);
  const counts = Array(10).fill(0);
  for (const row of tenths.filter((each) => each.step === Number($("pit-step").value))) counts[row.part] = row.n;
  const n = counts.reduce((sum, count) => sum + count, 0);
  text("pit-text", `${counted(n, "close")} of ${KINDS[judged]} forecasts ${asOf()}; ` +
    `${percent((counts[0] + counts[9]) / n)} fell into the two outer tenths; 20 % would be even.`);
  drawPit(counts);
  guarded(showReliability);
}

/** How often events of each stated chance happened; asked for when a person opens it, because it reads every quantile. */
async function showReliability() {
  const [judged, step, series] = [judgedKind(), Number($("pit-step").value), state.series.name];
  const turn = ++state.reliabilityTurn;
  text("reliability-caption", `${model()}, ${judged}, step ${step} (${STEP_UNITS[state.series.interval]}), ${asOf()}`);
  // Rows of another question must not stand below this caption.
  fill("reliability", [], "loading");
  if (!$("reliability-details").open) return;
  const all = await rows("reliability", { series, model: model(), kind: judged });
  if (turn !== state.reliabilityTurn) return;
  fill("reliability", all.filter((row) => row.step === step).map((row) => [
    row.low === 0 ? "under 1 %" : row.high === 1 ? "over 99 %" : `${percent(row.low, 0)} to ${percent(row.high, 0)}`,
    row.stated === null ? null : percent(row.stated), percent(row.realised),
    `${percent(row.realised_low)} to ${percent(row.realised_high)}`, row.n.toLocaleString("en"),
    row.origins.toLocaleString("en"),
  ]), "no forecast is scored yet");
}

function showModels(models, decisions, champion) {
  text("champion", champion
    ? `${champion.model}, version ${champion.id}, serves ${asOf()}.`
    : "No model serves yet; the gate judges the first training.");
  text("decisions-caption", `Decisions about which model serves, newest first, ${asOf()}`);
  text("versions-caption", `Registered versions, newest first, ${asOf()}`);
  const words = { promoted: "promoted", kept: "not promoted", rolled_back: "rolled back to", demoted: "serves after a demotion" };
  fill("decisions", decisions.toReversed().map((row) => [
    instant(row.decided_at), words[row.outcome], row.model, row.model_version, row.reason,
  ]), "no decision yet");
  fill("versions", models.toReversed().map((row) => [
    row.champion ? `${row.id}, champion` : row.id, row.model, row.purpose,
    row.cutoff === null ? "learns nothing" : instant(row.cutoff), row.init_from, row.device, row.seconds.toFixed(1),
    row.learnt_from.length === 1 ? row.learnt_from[0] : row.learnt_from.length ? `${row.learnt_from.length} series` : "",
  ]), "none");
}

function showHealth(findings) {
  const { candles, first_open: first, last_close: last } = state.series;
  const old = last === null ? "" : `, ${age(Date.now() - Date.parse(last))} ago`;
  text("health", candles
    ? `${counted(candles, "closed candle")} from ${instant(first)} UTC to the ` +
      `${closeName(last, state.series.interval)}${old}. ` +
      `${findings.length || "No"} open finding${findings.length === 1 ? "" : "s"}.`
    : "No closed candle is stored.");
  text("findings-caption", `Open findings about the data ${asOf()}`);
  fill("findings", findings.map((row) => [row.severity, row.message, instant(row.found_at), row.remedy]),
    "no finding");
}

/** Run `action`; if the API refuses or does not answer, show the reason. */
async function guarded(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) {
      $("content").hidden = true;
      $("token-form").hidden = false;
      text("token-refused", hasToken() ? "The server did not accept this token." : "");
      $("token").focus();
    } else if (error.status === 503) {
      showEmpty(error.message);
    } else {
      $("series-choice").hidden = state.series === null;
      $("notice").hidden = false;
      text("notice", error.message);
    }
  }
}

function move(by) {
  $("origin").value = Number($("origin").value) + by;
  guarded(showOrigin);
}

let waiting;
$("origin").oninput = () => {
  nameOrigin();
  clearTimeout(waiting);
  waiting = setTimeout(() => guarded(showOrigin), REQUEST_DELAY_MS);
};
$("earlier").onclick = () => move(-1);
$("later").onclick = () => move(1);
$("model").onchange = () => guarded(showChoice);
for (const radio of document.querySelectorAll("input[name=kind]")) radio.onchange = () => guarded(showChoice);
answerChanges(guarded);
$("pit-step").onchange = showPit;
$("reliability-details").ontoggle = () => guarded(showReliability);
$("token-form").onsubmit = (event) => {
  event.preventDefault();
  keepToken($("token").value);
  $("token").value = "";
  $("token-form").hidden = true;
  guarded(start);
};
$("series").onchange = () => { location.hash = encodeURIComponent($("series").value); };
$("skip").onclick = () => $("main").focus();
addEventListener("hashchange", () => guarded(start));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.series !== null && guarded(showChoice));
guarded(start);
