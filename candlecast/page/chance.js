// The question how likely a close is. Each change of a field asks the API about the forecast that is shown.

import { rows } from "./api.js";
import { chanceWords, closeName, price } from "./words.js";

const DELAY_MS = 120;
const $ = (id) => document.getElementById(id);
let forecast = null;
let closes = new Map();
let asked = 0;
let unit = "";
let waiting;

/** Ask about the forecast of these bands from now on. A price of another series is replaced by the median. */
export async function askAbout(bands, closeOf, { interval, quote }) {
  const { series, model, kind, origin, q50 } = bands[0];
  if (forecast?.series !== series) $("chance-price").value = Number(q50.toPrecision(4));
  forecast = { series, model, kind, origin };
  unit = quote;
  closes = new Map(bands.map((row) => [String(row.step), closeName(closeOf(row), interval)]));
  const step = $("chance-step").value;
  $("chance-step").replaceChildren(...[...closes].map(([value, name]) => new Option(name, value)));
  if (closes.has(step)) $("chance-step").value = step;
  await ask();
}

async function ask() {
  const turn = ++asked;
  const step = $("chance-step").value;
  const typed = $("chance-price").validity.valid && Number($("chance-price").value) > 0;
  const share = $("chance-percent").validity.valid && Number($("chance-percent").value) > 0;
  const answerOf = async (question) => (await rows("chance", { ...forecast, ...question, step }))[0];
  const [chance, level] = await Promise.all([
    typed ? answerOf({ [$("chance-side").value]: $("chance-price").value }) : null,
    share ? answerOf({ chance: $("chance-percent").value / 100 }) : null,
  ]);
  if (turn !== asked) return;
  const name = `the ${closes.get(step)}`;
  $("chance-answer").textContent = chance === null ? "Type a price above zero."
    : `${chanceWords(chance)} that ${name} is ${chance.side} ${price(chance.price)} ${unit}.`;
  $("level-answer").textContent = level === null ? "Type a chance from 1 to 99 %."
    : `${price(level.price)} ${unit}: ${name} is below it with a chance of ${chanceWords(level)}.`;
}

/** Answer again, by `guarded`, a moment after the last change of a field. */
export function answerChanges(guarded) {
  for (const id of ["chance-step", "chance-side", "chance-price", "chance-percent"]) {
    $(id).oninput = () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => guarded(ask), DELAY_MS);
    };
  }
}
