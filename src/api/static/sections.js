// The parts of the board, each from the answer that it shows.

import { channelChart } from "./charts.js";
import { ago, duration, el, facts, findings, moment, number, show, span, STATES, table } from "./elements.js";

const VERDICTS = { pass: ["good", "All is well"], warn: ["doubtful", "Busy or late"], fail: ["bad", "Something is broken"] };
const FEW = 12;
const STATUSES = ["queued", "sending", "sent", "failed", "skipped"];
const PHASES = { a: "A · find events", b: "B · decide who hears", d: "D · build digests", c: "C · send" };
const STOPS = { signal: "a signal", deadline: "the time limit", max_send: "the cap", channel_halted: "a halted channel" };

export function showStatus(health, now) {
  const [state, verdict] = VERDICTS[health.status];
  const run = health.last_run;
  const last = run ? `Last run ${ago(run.started_at, now)}: ${run.status}, ${number(run.totals.sent)} sent. ` : "No run so far. ";
  const success = health.last_success_at ? `Last success ${ago(health.last_success_at, now)}.` : "No successful run so far.";
  verdictOf(state, verdict, last + success, findings(health.errors, "bad"), findings(health.warnings, "doubtful"));
}

export function showTrouble(problem) {
  verdictOf("bad", "No answer", "The numbers below are as they were before.", findings([`${problem.code}: ${problem.detail}`], "bad"));
}

function verdictOf(state, verdict, words, ...lists) {
  document.getElementById("status").className = state;
  show("status", el("p", { class: "verdict" }, verdict), el("p", {}, words), ...lists);
}

export function showTiles(health) {
  const sent = { deliveries: 0, failed: 0 };
  for (const kinds of Object.values(health.deliveries_24h)) {
    sent.deliveries += kinds.instant.sent;
    sent.failed += kinds.instant.failed;
  }
  const { deliveries, digests } = health.oldest_queued_minutes;
  const waiting = (minutes) => (minutes === null ? el("small", {}, "none waiting") : span(minutes));
  show(
    "tiles",
    tile("Oldest due alert", waiting(deliveries), deliveries > 15 ? "doubtful" : ""),
    tile("Oldest due digest", waiting(digests)),
    tile("Alerts sent, 24 h", number(sent.deliveries)),
    tile("Alerts failed, 24 h", number(sent.failed)),
    tile("Held back", number(health.held)),
    tile("Stuck in sending", number(health.stuck_sending), health.stuck_sending ? "bad" : ""),
  );
}

function tile(name, value, state = "") {
  return el("dl", { class: "tile" }, el("dt", {}, name), el("dd", { class: state }, value));
}

export function showCharts(activity) {
  const names = Object.keys(activity.hours.at(-1).channels);
  const charts = names.map((name) => channelChart(name, activity.hours));
  show("charts", ...(charts.length ? charts : [quiet("Nothing was sent and nothing failed.")]));
}

export function showMessages(health) {
  const rows = [];
  for (const [channel, kinds] of Object.entries(health.deliveries_24h)) {
    rows.push([`${channel} alerts`, ...STATUSES.map((status) => kinds.instant[status]), ""]);
    const { queued, batched } = kinds.digest;
    if (queued || batched) rows.push([`${channel} for digests`, queued, "", "", "", "", batched]);
  }
  for (const [channel, statuses] of Object.entries(health.digests_7d)) {
    rows.push([`${channel} digests, 7 days`, ...STATUSES.map((status) => statuses[status]), ""]);
  }
  const rare = (status) => (status === "sending" || status === "skipped" ? "number wide" : "number");
  const columns = [["Made in 24 hours"], ...STATUSES.map((status) => [status, rare(status)]), ["in a digest", "number wide"]];
  show("messages", rows.length ? el("div", { class: "panel" }, table(columns, rows, "Messages by status")) : quiet("No messages."));
}

export function showRollout(runs, health) {
  const last = runs.find((run) => run.rollout);
  if (!last) return show("rollout", quiet("No run has said so far."));
  const { allowlist_active: allowlist, max_send_per_run: cap } = last.rollout;
  const stops = runs.filter((run) => run.counts?.stop_reason === "max_send").length;
  return show("rollout", el("div", { class: "panel" }, facts([
    ["Reach", allowlist ? el("strong", { class: "doubtful" }, "allowlist: only those on it") : "everybody"],
    ["Cap", `${number(cap)} messages a run`],
    ["Cap reached", `${stops} of the last ${runs.length} runs`],
    ["Held back", `${number(health.held)} messages`],
    ["As of", el("span", {}, "the run of ", moment(last.started_at))],
  ])));
}

export function showFailures(activity, runs) {
  const failed = runs.filter((run) => run.status === "failed").slice(0, 3);
  const texts = activity.failures.map(({ count, channel, reason, detail }) => {
    const what = `${number(count)} × ${channel}, ${reason.replaceAll("_", " ")}${detail ? ` (${detail})` : ""}`;
    return `${what}: ${activity.mends[reason] ?? "see the run in which it happened"}`;
  });
  const parts = failed.map((run) => el("div", { class: "findings" }, el("p", { class: "soft" }, "Run of ", moment(run.started_at)), reasons(run)));
  if (texts.length) parts.push(el("div", { class: "findings" }, el("p", { class: "soft" }, "Messages of the last 24 hours"), findings(texts, "doubtful")));
  show("failures", parts.length ? el("div", { class: "panel" }, ...parts) : quiet("None: no run and no message failed."));
}

function reasons(run) {
  return findings((run.error_summary ?? "no reason on record").split("; "), "bad");
}

export function showRuns(runs, all, showAll) {
  const columns = [
    ["Started"], ["Status"], ["Phase", "wide"], ["Took", "number wide"], ["Sent", "number"], ["Failed", "number"],
    ["Retried", "number wide"], ["Trigger", "wide"],
  ];
  const rows = runs.slice(0, all ? runs.length : FEW).map((run) => [
    el("a", { href: `#run=${encodeURIComponent(run.run_id)}` }, moment(run.started_at)), statusOf(run.status), run.phase ?? "–",
    duration(run.duration_ms), run.counts?.sent ?? 0, run.counts?.failed ?? 0, run.counts?.retried ?? 0,
    (run.triggered_by ?? "–").replace("github_actions_", ""),
  ]);
  const more = el("button", { type: "button", id: "more" }, `Show all ${runs.length}`);
  more.addEventListener("click", showAll);
  const board = el("div", { class: "panel" }, table(columns, rows, "The newest runs"), rows.length < runs.length ? more : null);
  show("runs", runs.length ? board : quiet("No run so far."));
}

function statusOf(status) {
  return el("span", { class: STATES[status] ?? "soft" }, status);
}

export function showNoRun(close) {
  show("run-detail", el("div", { class: "heading" }, el("h2", { id: "run-title" }, "No such run is on record"), close));
}

export function showRun({ run, phases }, close) {
  const stop = run.counts?.stop_reason;
  const { rollout } = run;
  show(
    "run-detail",
    el("div", { class: "heading" },
      el("h2", { id: "run-title" }, "Run of ", moment(run.started_at), ", ", statusOf(run.status)), close),
    facts([
      ["Run", el("code", {}, run.run_id)], ["Took", duration(run.duration_ms)], ["Stopped early by", STOPS[stop] ?? null],
      ["Trigger", run.triggered_by], ["Started by", run.actor], ["Commit", run.git_sha ? el("code", {}, run.git_sha.slice(0, 12)) : null],
      ["Rollout", rollout && `${rollout.allowlist_active ? "allowlist" : "everybody"}, at most ${number(rollout.max_send_per_run)} messages`],
    ]),
    run.error_summary ? reasons(run) : "",
    ...phases.map(phaseOf),
  );
}

function phaseOf(phase) {
  const counted = flat(phase.counts ?? {}).filter(([, value]) => value && value !== "false");
  return el(
    "section", { class: "phase" },
    el("div", { class: "heading" }, el("h3", {}, PHASES[phase.phase] ?? phase.phase),
      el("span", { class: "soft" }, statusOf(phase.status), `, ${duration(phase.duration_ms)}`)),
    counted.length
      ? el("ul", { class: "chips" }, ...counted.map(([name, value]) => el("li", {}, `${name} `, el("b", {}, value))))
      : el("p", { class: "soft" }, "nothing to do"),
  );
}

// Counts of any depth as "deliveries sent" → "12"; zeros are told by being left out.
function flat(counts, prefix = "") {
  return Object.entries(counts).flatMap(([name, value]) => {
    const words = `${prefix}${name.replaceAll("_", " ")}`;
    if (value !== null && typeof value === "object" && !Array.isArray(value)) return flat(value, `${words} `);
    return [[words, typeof value === "number" ? (value ? number(value) : "") : String(value ?? "")]];
  });
}

function quiet(words) {
  return el("p", { class: "panel soft" }, words);
}
