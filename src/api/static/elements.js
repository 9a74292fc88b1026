// Building blocks: elements whose text is always text, never markup; numbers and times as people read them.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const show = (id, ...children) => document.getElementById(id).replaceChildren(...children);

export const number = (value) => (value ?? 0).toLocaleString();
export const sum = (values) => values.reduce((total, value) => total + value, 0);

export function clock(moment) {
  return new Date(moment).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

export function moment(text) {
  if (!text) return "–";
  const date = new Date(text);
  const options = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
  return el("time", { datetime: text, title: date.toISOString() }, date.toLocaleString(undefined, options));
}

export function ago(text, now) {
  const minutes = Math.max(Math.round((now - new Date(text)) / 60000), 0);
  return minutes ? `${span(minutes)} ago` : "just now";
}

export function span(minutes) {
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

export function duration(milliseconds) {
  if (milliseconds === null || milliseconds === undefined) return "–";
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export const STATES = { success: "good", failed: "bad", interrupted: "doubtful", running: "soft", skipped: "soft", disabled: "soft" };

// "code: what is wrong: how to mend it", as every message of the engine is made.
function finding(text, state) {
  const [, code, what, mend] = /^(?:([a-z_]+(?:\.[a-z_]+)+|internal): )?(.*?)(?:: (.*))?$/s.exec(text);
  return el(
    "li", { class: `finding ${state}` },
    el("span", {}, ...prose(what)), mend ? el("span", { class: "mend" }, ...prose(mend)) : null,
    code ? el("code", { class: "soft" }, code) : null,
  );
}

// Words between backticks are code.
function prose(text) {
  return text.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part));
}

export function findings(texts, state) {
  return el("ul", { class: "findings" }, ...texts.map((text) => finding(text, state)));
}

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" }, ...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

// Columns: [title, class]; the first cell of a row is its heading.
export function table(columns, rows, caption) {
  const cell = (value, place) => {
    const [, style] = columns[place];
    const zero = value === 0 ? " zero" : "";
    const content = typeof value === "number" ? number(value) : value;
    return place ? el("td", { class: `${style ?? ""}${zero}` }, content) : el("th", { scope: "row" }, content);
  };
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el(
    "table", {},
    el("thead", {}, el("tr", {}, ...columns.map(([title, style]) => el("th", { scope: "col", class: style }, title)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell)))),
  ));
}
