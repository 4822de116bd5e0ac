// The switcher: tabs while they are few, a list when they are many. The choice lives in the address, after the #.

import { NONE } from "./format.js";

const MOST_TABS = 6;

const tabs = document.getElementById("symbols");
const choice = document.getElementById("symbol-choice");
const select = document.getElementById("symbol-select");

export const chosenSymbol = () => decodeURIComponent(location.hash.slice(1)).toUpperCase();

export function choose(symbol) {
  history.replaceState(null, "", `#${encodeURIComponent(symbol)}`);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

// `quotes` are {symbol, text, state}; `current` is the symbol shown.
export function showSymbols(quotes, current) {
  const many = quotes.length > MOST_TABS;
  tabs.hidden = many;
  choice.hidden = !many;
  if (many) return showSelect(quotes, current);
  sync(tabs, quotes, makeTab, (tab, { symbol, text, state }) => {
    tab.dataset.state = state;
    tab.setAttribute("aria-current", String(symbol === current));
    write(tab.children[0], symbol);
    write(tab.children[1], text || NONE);
  });
}

function showSelect(quotes, current) {
  sync(select, quotes, () => document.createElement("option"), (option, { symbol }) => {
    option.value = symbol;
    write(option, symbol);
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
  tab.append(document.createElement("span"), document.createElement("small"));
  tab.addEventListener("click", () => choose(tab.children[0].textContent));
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
