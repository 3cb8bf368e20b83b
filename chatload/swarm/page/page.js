// The page of the web UI: shows the state of the run every second, and posts the start form.
// All texts about the run come from the server (chatload/swarm/live_page.py).
"use strict";

const EVERY_MS = 1000;
const HEIGHT = 165; // of a chart, without its legend (pixels)
const TONES = ["good", "bad", "warn", "soft"];
// The fields of LivePoint, in its order.
const [AT, OPEN, ENDED, DROPPED, UNSERVED, P50, P95, P99, MARGIN] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
// Title, what the axis shows, and the lines: field of a point, name, colour, factor.
const CHARTS = [
  ["Open sessions", "number", [[OPEN, "open", "--good", 1]]],
  ["Sessions that end", "per second", [[ENDED, "all", "--c6", 1], [DROPPED, "dropped, surely or possibly", "--v-late", 1], [UNSERVED, "never accepted", "--c2", 1]]],
  ["Latency of GetMessages", "ms", [[P50, "p50", "--c6", 1000], [P95, "p95", "--good", 1000], [P99, "p99", "--c4", 1000]]],
  ["Least margin of a refresh", "s; below 0 the chat is dropped", [[MARGIN, "margin", "--c3", 1]]],
];
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
const $ = (id) => document.getElementById(id);

let points = [], startedAt = 0, phase = "", knownRefusal = "", wantsForm = false, startedHere = false, charts = [], sayShown = () => {};

// -- the state of the run ------------------------------------------------------------------------

async function update() {
  const last = points.length ? points[points.length - 1][AT] : -1;
  let state;
  try {
    const answer = await fetch(`./state?started_at=${startedAt}&after_s=${last}`);
    if (answer.redirected) return location.reload(); // logged out
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    state = await answer.json();
  } catch (error) {
    say($("offline"), `No answer from the web UI (${error.message}). The process may have ended; this page tries again.`);
    return;
  }
  say($("offline"), "");
  show(state);
}

function show(state) {
  if (state.started_at !== startedAt) [startedAt, points] = [state.started_at, []];
  const active = state.phase === "running" || state.phase === "stopping";
  // What only the start itself finds out comes after the form was accepted.
  const refused = !active && state.refused !== knownRefusal ? state.refused : "";
  knownRefusal = state.refused;
  if (active || refused) $("submit").disabled = false;
  if (active && phase !== state.phase) wantsForm = false;
  phase = state.phase;
  if (refused) refuse(refused);
  text($("badge"), state.badge);
  tone($("badge"), state.tone);
  text($("run"), state.run);
  text($("headline"), state.headline);
  document.title = `chatload: ${state.badge}`;
  $("stop").hidden = !active;
  $("stop").disabled = phase === "stopping";
  $("new").hidden = phase !== "ended" || wantsForm;
  $("report").hidden = !state.has_report;
  // The keyboard would lose its place with the form.
  if (active && startedHere) $("headline").focus();
  if (active) startedHere = false;
  $("start").hidden = active || !(wantsForm || phase === "ready");
  $("users").hidden = phase !== "running" || !$("user_count");
  $("progress").hidden = phase === "ready";
  const { users, spawn_rate, workers } = state.swarm;
  for (const [id, value] of [["new-users", users], ["new-rate", spawn_rate]]) {
    if (!$("users").contains(document.activeElement)) $(id).value = value ?? "";
  }
  text($("workers"), workers === null ? "" : workers ? `${workers} worker${workers > 1 ? "s" : ""} connected` : "No worker is connected yet");
  fill($("notes"), state.notes.map((note) => element("li", note)));
  fill($("tiles"), state.tiles.map(tile));
  $("classes-region").hidden = !state.classes.length;
  fill($("classes").tBodies[0], state.classes.map(classRow));
  text($("caption"), state.caption);
  $("thresholds-region").hidden = !state.thresholds.length;
  fill($("thresholds").tBodies[0], state.thresholds.flatMap(thresholdRows));
  fill($("figures").tBodies[0], state.rows.map((row, i) => figureRow(row, state.rows[i - 1])));
  if (state.points.length || !points.length) {
    points.push(...state.points);
    draw();
  }
}

function tile(found) {
  const box = element("li"), label = found.label[0].toUpperCase() + found.label.slice(1);
  tone(box, found.tone);
  box.append(element("span", label, "label"), element("strong", found.value), element("span", found.detail, "detail"));
  return box;
}

function classRow(found) {
  const row = element("tr"), name = element("th", found.user_class, "t"), dropped = element("td", found.dropped);
  name.scope = "row";
  tone(dropped, found.tone);
  row.append(name, element("td", found.open), element("td", found.ended), dropped);
  row.append(...[found.unserved, found.p50, found.p95, found.p99, found.margin].map((said) => element("td", said || "–")));
  return row;
}

function thresholdRows(found) {
  const row = element("tr"), why = element("tr", "", "why"), cell = element("td"), name = element("th");
  name.scope = "row";
  name.append(element("code", found.expression));
  const state = element("td", "", `t ${found.tone}`);
  state.append(element("strong", found.state));
  row.append(name, state, element("td", found.value));
  cell.colSpan = 3;
  cell.append(element("div", found.why, "stay"));
  why.append(cell);
  return found.why ? [row, why] : [row];
}

function figureRow([area, figure, value, note], before) {
  const row = element("tr"), name = element("th", before && before[0] === area ? "" : area, "t");
  name.scope = "row";
  row.append(name, element("td", figure, "t"), element("td", value), element("td", note, "wrap"));
  return row;
}

// -- charts --------------------------------------------------------------------------------------

function draw() {
  const at = points.map((point) => point[AT]);
  for (const chart of charts) {
    const lines = chart.lines.map(([field, , , factor]) => points.map((p) => (p[field] === null ? null : p[field] * factor)));
    // A reader who zoomed in keeps the part; the newest point is shown otherwise.
    chart.plot.setData([at, ...lines], !chart.zoomed());
    // The legend shows the values at the cursor, and otherwise the newest. uPlot empties it when it has drawn.
    requestAnimationFrame(() => {
      if (points.length && chart.plot.cursor.left < 0) chart.plot.setLegend({ idx: points.length - 1 });
    });
    const now = chart.lines.map(([, name], i) => `${name} ${number(lines[i][lines[i].length - 1])}`).join(", ");
    chart.label(points.length ? `${chart.title}: now ${now}` : `${chart.title}: no values yet`);
  }
  // uPlot sets its scales in a microtask.
  setTimeout(sayShown);
}

// The whole run, and from then on its newest point.
function showAll() {
  for (const { plot } of charts) plot.setData(plot.data, true);
}

function wholeRun() {
  return points.length ? [points[0][AT], points[points.length - 1][AT]] : [0, 1];
}

function build() {
  for (const chart of charts) chart.plot.destroy();
  fill($("charts"), []);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // All figures first: the width of each depends on their number.
  for (const [title, unit] of CHARTS) {
    const figure = element("figure"), caption = element("figcaption", `${title} `);
    caption.append(element("span", unit));
    figure.append(caption);
    $("charts").append(figure);
  }
  charts = CHARTS.map(([title, , lines], i) => {
    const figure = $("charts").children[i];
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const plot = new uPlot(
      {
        width: Math.max(figure.clientWidth, 200),
        height: HEIGHT,
        scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 0) * 1.05 || 1] } },
        cursor: { sync: { key: "run" }, drag: { x: true, y: false } },
        axes: [{ ...axis, size: 32, incrs: TIME_STEPS, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 56, values: (_, ticks) => ticks.map(number) }],
        series: [
          { label: "time", value: (_, at) => clock(at) },
          ...lines.map(([, name, stroke]) => ({ label: name, stroke: colour(stroke), width: 2, points: { show: false }, value: (_, v) => number(v) })),
        ],
      },
      [[], ...lines.map(() => [])],
      figure,
    );
    const canvas = plot.root.querySelector(".u-wrap");
    canvas.setAttribute("role", "img");
    const zoomed = () => plot.data[0].length > 1 && (plot.scales.x.min > plot.data[0][0] || plot.scales.x.max < plot.data[0][plot.data[0].length - 1]);
    return { title, lines, plot, zoomed, label: (said) => canvas.setAttribute("aria-label", said) };
  });
  draw();
}

function resize() {
  for (const { plot } of charts) plot.setSize({ width: Math.max(plot.root.parentElement.clientWidth, 200), height: HEIGHT });
  draw();
}

// -- the forms -----------------------------------------------------------------------------------

async function post(address, fields) {
  const answer = await fetch(address, { method: "POST", body: new URLSearchParams(fields) });
  if (!answer.ok) throw new Error((await answer.text()) || `HTTP ${answer.status}`);
  return answer.json();
}

function fieldsOf(form) {
  const found = [];
  for (const control of form.elements) {
    if (!control.name || control.disabled) continue;
    if (control.type !== "checkbox") found.push([control.name, control.value.trim()]);
    else if (control.closest(".many")) control.checked && found.push([control.name, control.value]);
    else found.push([control.name, String(control.checked)]);
  }
  return found;
}

async function start(event) {
  event.preventDefault();
  refuse("");
  const controls = [...$("form").elements], empty = controls.find((control) => control.required && !control.value.trim());
  if (empty) return refuse(`${labelOf(empty)} is missing.`, empty);
  const wrong = controls.find(({ type, value }) => type === "number" && !(Number(value) > 0));
  if (wrong) return refuse(`${labelOf(wrong)} ${wrong.value}: expected a number above 0.`, wrong);
  $("submit").disabled = true;
  try {
    const answer = await post("../swarm", fieldsOf($("form")));
    startedHere = answer.success;
    if (answer.success) return void setTimeout(() => { $("submit").disabled = false; }, 5000);
    knownRefusal = answer.message;
    refuse(answer.message);
  } catch (error) {
    refuse(error.message);
  }
  $("submit").disabled = false;
}

// Shows why a start was refused: above the form, and at the setting that the message names first.
function refuse(message, control) {
  for (const marked of $("form").querySelectorAll("[aria-invalid]")) {
    marked.removeAttribute("aria-invalid");
    say($(`error-${marked.name}`), "");
  }
  say($("refused"), message && `The run was not started. ${message}`);
  if (!message) return;
  if (phase === "ended") wantsForm = true;
  control = control || settingIn(message);
  if (control) {
    control.setAttribute("aria-invalid", "true");
    say($(`error-${control.name}`), message);
    const folded = control.closest("details");
    if (folded) folded.open = true;
  }
  setTimeout(() => (control || $("refused")).focus());
}

// The setting that a message is about: the flag or the value that it names; the flag of its hint comes last.
function settingIn(message) {
  const [what] = message.split("; ");
  const byFlag = (text) => {
    for (const [flag] of text.matchAll(/--[a-z][a-z-]*|(?<=^|\s)-[urt](?=\s)/g)) {
      const code = [...$("form").querySelectorAll("label code")].find((code) => code.textContent === flag);
      if (code) return $(code.parentElement.htmlFor);
    }
    return null;
  };
  const named = [...$("form").elements].filter(({ type, value }) => type === "text" && value.trim().length > 3 && what.includes(value.trim()));
  const byValue = named.sort((a, b) => b.value.length - a.value.length)[0];
  // Locust names a setting by its field.
  const byName = [...$("form").elements].find(({ name }) => name && name.includes("_") && what.includes(name));
  const byWord = /^\d+ users? /.test(what) ? $("user_count") : /^threshold/.test(what) ? $("threshold")
    : /\bhost\b|loopback|cannot be reached|chat service|proxy/.test(what) ? $("host") : null;
  return byFlag(what) || byName || byValue || byWord || byFlag(message);
}

const labelOf = (control) => document.querySelector(`label[for="${control.id}"]`).firstChild.textContent.trim();

async function changeUsers(event) {
  event.preventDefault();
  try {
    const answer = await post("../swarm", fieldsOf($("users")));
    text($("users-said"), answer.success ? "changed" : answer.message);
  } catch (error) {
    text($("users-said"), `not changed: ${error.message}`);
  }
}

async function stop() {
  $("stop").disabled = true;
  try {
    await post("../stop", {});
  } catch (error) {
    say($("offline"), `The run was not stopped: ${error.message}`);
  }
}

async function newRun() {
  // The form with the settings of the last run, from the server: another reader may have started it.
  const page = new DOMParser().parseFromString(await (await fetch("./")).text(), "text/html");
  for (const control of $("form").elements) {
    const fresh = page.getElementById(control.id);
    if (!control.id || !fresh || !control.name) continue;
    if (control.type === "checkbox") control.checked = fresh.checked;
    else control.value = fresh.value;
  }
  wantsForm = true;
  refuse("");
  $("start").hidden = false;
  $("new").hidden = true;
  $("start").scrollIntoView();
  ($("host") || $("submit")).focus();
}

// -- small helpers -------------------------------------------------------------------------------

function element(name, said = "", classes = "") {
  const made = document.createElement(name);
  made.textContent = said;
  if (classes) made.className = classes;
  return made;
}

// Changes nothing that is the same: a screen reader would read it again, and a selection would be lost.
function fill(parent, children) {
  const same = parent.children.length === children.length && children.every((child, i) => child.isEqualNode(parent.children[i]));
  if (!same) parent.replaceChildren(...children);
}

function text(where, said) {
  if (where.textContent !== said) where.textContent = said;
}

function say(where, said) {
  if (!where) return;
  text(where, said);
  where.hidden = !said;
}

function tone(where, name) {
  where.classList.remove(...TONES);
  if (name) where.classList.add(name);
}

function number(value) {
  if (value === null || value === undefined) return "–";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return String(Number(value.toFixed(digits)));
}

function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.round(seconds), [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

$("form").addEventListener("submit", start);
$("form").addEventListener("input", (event) => {
  if (event.target.getAttribute("aria-invalid")) refuse("");
});
$("users").addEventListener("submit", changeUsers);
$("stop").addEventListener("click", stop);
$("new").addEventListener("click", newRun);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", build);
new ResizeObserver(resize).observe($("charts"));
build();
sayShown = zoomButtons(document.querySelector(".zoom"), () => charts.map((chart) => chart.plot), wholeRun, showAll, clock);
(async function poll() {
  if (!document.hidden) await update();
  setTimeout(poll, EVERY_MS);
})();
