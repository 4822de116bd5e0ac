// The depth of the whole book, each side within distances of the mid: what lies beyond the levels of a book event, too.

import { NONE, clock, quantity } from "./format.js";

const DISTANCE = /^bid_quantity_(\d+(?:_\d+)?)bps$/;

// `answer` is that of /api/depth, null where there is none.
export function showDepth(answer) {
  const rows = Object.keys(answer ?? {})
    .map((name) => name.match(DISTANCE)?.[1])
    .filter(Boolean)
    .map((suffix) => ({ bps: Number(suffix.replace("_", ".")), bid: answer[`bid_quantity_${suffix}bps`], ask: answer[`ask_quantity_${suffix}bps`] }))
    .sort((one, other) => one.bps - other.bps);
  const known = rows.filter(({ bid, ask }) => isNumber(bid) || isNumber(ask));
  const most = Math.max(...known.flatMap(({ bid, ask }) => [bid ?? 0, ask ?? 0]), Number.MIN_VALUE);
  document.getElementById("whole").replaceChildren(...known.map((row) => line(row, most)));
  drawChart(known, most);
  const beyond = document.getElementById("whole-beyond");
  const unknown = rows.filter((row) => !known.includes(row)).map(({ bps }) => bps);
  beyond.hidden = !unknown.length;
  beyond.textContent = unknown.length ? `${unknown.join(", ")} bps: beyond what the exchange's snapshot told` : "";
  document.getElementById("whole-note").textContent = rows.length ? `at ${clock(answer.event_time)}` : "not told yet";
}

// Cumulated quantity from the mid outwards, bids to the left. Distances are drawn equally far apart, since they grow
// tenfold, and roots of quantities, so that the little near the mid is seen.
function drawChart(rows, most) {
  const chart = document.getElementById("whole-chart");
  const scale = document.getElementById("whole-scale");
  chart.toggleAttribute("hidden", !rows.length);
  scale.hidden = !rows.length;
  if (!rows.length) return;
  chart.setAttribute("viewBox", `${-rows.length} 0 ${2 * rows.length} 1`);
  for (const [side, sign] of [["bid", -1], ["ask", 1]]) {
    const heights = rows.map((row) => row[side]).filter(isNumber).map((value) => 1 - Math.sqrt(value / most));
    const line = heights.map((height, index) => `L${sign * (index + 1)} ${height.toFixed(4)}`).join("");
    chart.querySelector(`.${side}`).setAttribute("d", `M0 1${line}L${sign * heights.length} 1Z`);
  }
  for (const end of [scale.firstChild, scale.lastChild]) end.textContent = `${rows.at(-1).bps} bps`;
}

const isNumber = (value) => typeof value === "number";

function line({ bps, bid, ask }, most) {
  const row = document.createElement("tr");
  row.insertCell().textContent = `${bps} bps`;
  for (const [side, value] of [["bid", bid], ["ask", ask]]) {
    const cell = row.insertCell();
    cell.className = side;
    cell.textContent = isNumber(value) ? quantity(value) : NONE;
    cell.style.setProperty("--part", `${(100 * (value ?? 0)) / most}%`);
  }
  return row;
}
