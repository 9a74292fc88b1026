// A channel's day: a bar an hour, what was sent above the line and what failed below it.

import { clock, el, number, sum, svg, table } from "./elements.js";

const STEP = 10;
const BAR = 7;
const UP = 60;
const DOWN = 18;
const LEAST = 2; // so that one message among hundreds is still seen

export function channelChart(name, hours) {
  const day = hours.map((hour) => ({ start: hour.start, ...(hour.channels[name] ?? { sent: 0, failed: 0 }) }));
  const sent = sum(day.map((hour) => hour.sent));
  const failed = sum(day.map((hour) => hour.failed));
  const busiest = day.reduce((most, hour) => (hour.sent > most.sent ? hour : most));
  const words = `${number(sent)} sent, ${number(failed)} failed`;
  const rows = day.filter((hour) => hour.sent || hour.failed).map((hour) => [clock(hour.start), hour.sent, hour.failed]);
  return el(
    "div", { class: "panel chart" },
    el("div", { class: "heading" }, el("h3", {}, name), el("span", {}, words)),
    bars(day, `${name}, last ${day.length} hours: ${words}; most at ${clock(busiest.start)}, ${number(busiest.sent)}`),
    el("div", { class: "axis", "aria-hidden": "true" }, ...axis(day)),
    el("details", {}, el("summary", {}, "As a table"),
      table([["Hour"], ["Sent", "number"], ["Failed", "number"]], rows, `${name} by hour`)),
  );
}

function bars(day, label) {
  const most = Math.max(...day.map((hour) => hour.sent), 1);
  const mostFailed = Math.max(...day.map((hour) => hour.failed), most * (DOWN / UP));
  const height = (value, largest, room) => (value ? Math.max((value / largest) * room, LEAST) : 0);
  const groups = day.map((hour, place) => {
    const x = place * STEP + (STEP - BAR) / 2;
    const up = height(hour.sent, most, UP);
    const down = height(hour.failed, mostFailed, DOWN);
    return svg(
      "g", {}, svg("title", {}, `${clock(hour.start)}: ${number(hour.sent)} sent, ${number(hour.failed)} failed`),
      svg("rect", { x: place * STEP, y: 0, width: STEP, height: UP + DOWN + 2, "fill-opacity": 0 }),
      svg("rect", { class: "sent", x, y: UP - up, width: BAR, height: up }),
      svg("rect", { class: "failed", x, y: UP + 2, width: BAR, height: down }),
    );
  });
  const base = svg("line", { class: "base", x1: 0, x2: day.length * STEP, y1: UP + 1, y2: UP + 1 });
  const box = `0 0 ${day.length * STEP} ${UP + DOWN + 2}`;
  return svg("svg", { viewBox: box, preserveAspectRatio: "none", role: "img", "aria-label": label }, base, ...groups);
}

function axis(day) {
  const places = [0, Math.floor(day.length / 3), Math.floor((2 * day.length) / 3)];
  return [...places.map((place) => el("span", {}, clock(day[place].start))), el("span", {}, "now")];
}
