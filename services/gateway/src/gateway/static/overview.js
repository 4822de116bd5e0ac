// All symbols side by side: whether that is open, how it is sorted and filtered. The address of the page says so:
// ?overview&sort=-24h&text=btc&venue=binance&state=live. What draws it is loaded when it is opened first.

import { choose } from "./symbols.js";

const FIELDS = ["sort", "text", "venue", "state"];

const byId = (id) => document.getElementById(id);
const [section, single, opener] = [byId("overview"), document.querySelector("main"), byId("overview-open")];

let table = null;
let isMissing = false; // what draws it could not be loaded
let newest = null; // { quotes, note }

export const isOpen = () => !section.hidden;

// The page is told by the event "overview" when it was opened or closed. `quotes` are the rows of /api/overview, `note` why some of their columns are empty.
export function takeOverview(quotes, note) {
  newest = { quotes, note };
  if (!isOpen()) return;
  if (table) table.take(newest);
  else if (isMissing) follow();
}

// Does what the address says.
function follow() {
  const asked = new URLSearchParams(location.search);
  const [wasOpen, opens] = [isOpen(), asked.has("overview")];
  section.hidden = !opens;
  single.hidden = opens;
  opener.setAttribute("aria-expanded", String(opens));
  if (opens) show(Object.fromEntries(FIELDS.map((name) => [name, asked.get(name) ?? ""])));
  else table?.rest();
  if (opens !== wasOpen) dispatchEvent(new Event("overview"));
}

async function show(view) {
  if (!table) {
    const { OverviewTable } = await import("./overview_table.js").catch(() => ({}));
    isMissing = !OverviewTable;
    if (isMissing) return tell("the gateway does not answer");
    table ??= new OverviewTable(section, { remember, open });
  }
  table.show(view);
  if (newest) table.take(newest);
}

function tell(sentence) {
  byId("overview-note").textContent = sentence;
  byId("overview-note").hidden = false;
}

function open(key) {
  history.pushState(null, "", `./${location.hash}`);
  choose(key);
  follow();
}

function leave() {
  history.pushState(null, "", `./${location.hash}`);
  follow();
  opener.focus();
}

opener.addEventListener("click", () => {
  if (isOpen()) return leave();
  history.pushState(null, "", addressOf({}));
  follow();
});
byId("overview-close").addEventListener("click", leave);
section.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.target.value) leave(); // in a field that has a text it clears that
});
addEventListener("popstate", follow);
follow();

function remember(view) {
  history.replaceState(null, "", addressOf(view));
}

function addressOf(view) {
  const parts = FIELDS.filter((name) => view[name]).map((name) => `&${name}=${encodeURIComponent(view[name])}`);
  return `?overview${parts.join("")}${location.hash}`;
}
