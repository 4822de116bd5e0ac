// The switcher: tabs while they are few, a list when they are many. The choice lives in the address: #venue/symbol?view.

import { NONE } from "./format.js";
import { roster } from "./roster.js";

const MOST_TABS = 6;
const REMARKS = { waiting: "waiting", halted: "halted", unlisted: "not listed" }; // of symbols without a price now

const tabs = document.getElementById("symbols");
const choice = document.getElementById("symbol-choice");
const select = document.getElementById("symbol-select");
const summary = document.getElementById("roster");

export const keyOf = ({ venue, symbol }) => (venue ? `${venue}/${symbol}` : symbol);

// What the address asks for, completed by what is known: #BTCUSDT is the first venue that has it.
export function chosen(known) {
  const parts = location.hash.slice(1).split("?")[0].split("/").map(readName);
  const symbol = parts.pop().toUpperCase();
  const venue = parts.join("/").toLowerCase();
  if (!symbol) return known[0];
  return known.find((each) => each.symbol === symbol && (!venue || each.venue === venue)) ?? { venue, symbol };
}

// Somebody may have typed it: what cannot be decoded is taken as it is, and no name is longer or holds a slash.
function readName(text) {
  let name = text;
  try {
    name = decodeURIComponent(text);
  } catch {
    // as it is
  }
  return name.replaceAll("/", "").slice(0, 64);
}

export function choose(key) {
  const [, view] = location.hash.split("?");
  history.replaceState(null, "", `#${key.split("/").map(encodeURIComponent).join("/")}${view ? `?${view}` : ""}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export const severalVenues = (known) => new Set(known.map(({ venue }) => venue).filter(Boolean)).size > 1;

export const areMany = (known) => known.length > MOST_TABS;

// What all of them together are like, where they are too many to be looked at one by one; `feeds` as the gateway tells them.
export function summarise(feeds, now) {
  summary.hidden = !areMany(feeds);
  write(summary, roster(feeds, now));
}

// `quotes` are {venue, symbol, text, state}; `current` is the key of the one shown.
export function showSymbols(quotes, current) {
  const many = areMany(quotes);
  const named = severalVenues(quotes);
  tabs.hidden = many;
  choice.hidden = !many;
  if (many) return showSelect(quotes, current, named);
  sync(tabs, quotes, makeTab, (tab, quote) => {
    const [symbol, venue, price] = tab.children;
    tab.dataset.key = keyOf(quote);
    tab.dataset.state = quote.state;
    write(symbol, quote.symbol);
    write(venue, named ? quote.venue ?? "" : "");
    write(price, quote.text || NONE);
    markCurrent(tab, keyOf(quote) === current);
  });
}

function markCurrent(tab, isCurrent) {
  const wasCurrent = tab.getAttribute("aria-current") === "true";
  tab.setAttribute("aria-current", String(isCurrent));
  if (isCurrent && !wasCurrent) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function showSelect(quotes, current, named) {
  sync(select, quotes, () => document.createElement("option"), (option, quote) => {
    option.value = keyOf(quote);
    write(option, [quote.symbol, named && quote.venue, REMARKS[quote.state]].filter(Boolean).join(" · "));
  });
  if (select.value !== current) select.value = current;
}

function sync(parent, items, make, update) {
  while (parent.children.length > items.length) parent.lastChild.remove();
  items.forEach((item, index) => update(parent.children[index] ?? parent.appendChild(make()), item));
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function makeTab() {
  const tab = document.createElement("button");
  tab.type = "button";
  tab.append(document.createElement("span"), document.createElement("em"), document.createElement("small"));
  tab.addEventListener("click", () => choose(tab.dataset.key));
  return tab;
}

tabs.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = [...tabs.children];
  const next = all.at((all.indexOf(document.activeElement) + step) % all.length);
  next.focus();
  next.click();
});
select.addEventListener("change", () => choose(select.value));
