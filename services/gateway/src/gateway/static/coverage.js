// The strip of hours: what the gateway can say of each, from what it has seen. What it cannot say is never drawn as good.

import { clock, words } from "./format.js";

const HOURS = 24;
const HOUR = 3600e6; // microseconds
const MARKS = { verified: "=", unverified: "?", hole: "o", suspect: "!", unrecorded_hole: "X" };
const NOTHING = { mark: "·", verdict: "nothing", text: "nothing seen" };

let meanings = {}; // of each verdict, from the gateway

export function learnVerdicts(verdicts) {
  meanings = verdicts;
}

const meaning = (verdict) => meanings[verdict] ?? words(verdict);

// `answer` is that of /api/coverage, null where there is none.
export function showCoverage(answer) {
  const hours = answer?.hours ?? [];
  const strip = document.getElementById("coverage");
  const newest = hours.at(-1)?.time;
  const known = new Map(hours.map((hour) => [hour.time, hour]));
  const cells = newest === undefined ? [] : Array.from({ length: HOURS }, (_, index) => cell(newest - (HOURS - 1 - index) * HOUR, known));
  strip.replaceChildren(...cells.map(({ mark, verdict, text }) => {
    const item = document.createElement("li");
    item.textContent = mark;
    item.title = text;
    item.dataset.verdict = verdict;
    return item;
  }));
  strip.setAttribute("aria-label", summary(hours));
  document.getElementById("coverage-note").textContent = answer?.since ? `${summary(hours)}, since ${clock(answer.since).slice(0, 5)}` : "nothing seen yet";
}

function cell(time, known) {
  const begin = clock(time).slice(0, 5);
  const hour = known.get(time);
  if (!hour) return { ...NOTHING, text: `${begin} ${NOTHING.text}` };
  const minutes = `${hour.minutes_compared} of ${hour.minutes_with_books} minutes compared`;
  return { mark: MARKS[hour.verdict] ?? "?", verdict: hour.verdict, text: `${begin} ${meaning(hour.verdict)}, ${minutes}` };
}

// `3 verified, 1 not verified`: the worst last, as the gateway lists them.
function summary(hours) {
  const counts = Object.keys(MARKS).map((verdict) => [hours.filter((hour) => hour.verdict === verdict).length, verdict]);
  return counts.filter(([count]) => count).map(([count, verdict]) => `${count} ${meaning(verdict)}`).join(", ");
}
