// The dashboard: asks for the token once, fetches the API every 30 seconds, shows a run named in the address' fragment.
// The token lives in this tab's sessionStorage and travels in a header only.

import { clock, el, show } from "./elements.js";
import * as sections from "./sections.js";

const KEY = "alerts-engine-token";
const EVERY = 30_000;
let allRuns = false;
const $ = (id) => document.getElementById(id);

class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail);
    this.status = status;
    this.problem = problem;
  }
}

async function ask(path) {
  const answer = await fetch(path, { headers: { "x-internal-token": sessionStorage.getItem(KEY) ?? "" } });
  if (answer.ok) return answer.json();
  const unreadable = { code: "http.error", detail: `the server answered ${answer.status}: see its log` };
  throw new Refused(answer.status, await answer.json().catch(() => unreadable));
}

function enter(refusal = "") {
  sessionStorage.removeItem(KEY);
  $("board").hidden = $("controls").hidden = true;
  $("entrance").hidden = false;
  if ($("run").open) $("run").close();
  show("refusal", refusal);
  $("token").focus();
}

function explain(error) {
  if (error instanceof Refused && error.status === 401) return enter("That is not the server's token.");
  const unreachable = { code: "server.unreachable", detail: "the server does not answer: is it running?" };
  $("entrance").hidden = true;
  $("board").hidden = $("controls").hidden = false;
  return sections.showTrouble(error.problem ?? unreachable);
}

async function refresh() {
  if (!sessionStorage.getItem(KEY)) return enter();
  try {
    const [health, { runs }, activity] = await Promise.all([ask("health"), ask("runs?limit=50"), ask("activity?hours=24")]);
    const now = new Date(health.generated_at);
    sections.showStatus(health, now);
    sections.showTiles(health);
    sections.showCharts(activity);
    sections.showMessages(health);
    sections.showRollout(runs, health);
    sections.showFailures(activity, runs);
    keepFocus("runs", () => sections.showRuns(runs, allRuns, showAll));
    show("updated", `as of ${clock(now)}`);
    $("entrance").hidden = true;
    $("board").hidden = $("controls").hidden = false;
    return null;
  } catch (error) {
    return explain(error);
  }
}

function showAll() {
  allRuns = true;
  refresh();
}

// Redrawing must not take a keyboard user's place away.
function keepFocus(id, draw) {
  const href = $(id).contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  draw();
  if (href) [...$(id).querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus();
}

async function openRun() {
  const id = /^#run=(.+)$/.exec(location.hash)?.[1];
  if (!id) return $("run").open && $("run").close();
  if (!sessionStorage.getItem(KEY)) return null;
  const close = el("button", { type: "button" }, "Close");
  close.addEventListener("click", () => $("run").close());
  try {
    sections.showRun(await ask(`runs/${id}`), close);
  } catch (error) {
    if (![404, 422].includes(error.status)) return explain(error);
    sections.showNoRun(close);
  }
  if (!$("run").open) $("run").showModal();
  return null;
}

$("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("token").value);
  $("token").value = "";
  await refresh();
  await openRun();
});
$("sign-out").addEventListener("click", () => enter());
$("refresh").addEventListener("click", refresh);
$("run").addEventListener("close", () => history.replaceState(null, "", location.pathname));
$("run").addEventListener("click", (event) => event.target === $("run") && $("run").close());
window.addEventListener("hashchange", openRun);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(() => document.hidden || $("board").hidden || refresh(), EVERY);
await refresh();
await openRun();
