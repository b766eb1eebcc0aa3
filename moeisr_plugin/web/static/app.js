// The page: puts its parts together and keeps what is chosen.

import { listenForPictures } from "./opening.js";
import { fillNetworks, fillPrecisions, inTime, showCost, showEncoding, showExperts } from "./panel.js";
import { Saving } from "./saving.js";
import { server } from "./server.js";
import { Encoder, Side } from "./sources.js";
import { Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const named = (name) => [...document.querySelectorAll(`input[name="${name}"]`)];
const spaced = (network) => network.replaceAll("_", " ");
const MAP_DELAY = 120;

const chosen = { network: "", second: "", precision: "float32", left: "bicubic", budget: null, map: false };
const reports = { left: {}, right: {} };
let picture = null;
let limits = { view_pixels: 4e6 };
let mapRequest = new AbortController();
let mapTimer = 0;
let hasZoomed = false;
let firstKey = null; // of the picture of the command line, which all pages share

const encoder = new Encoder((of, network, progress) => {
  if (of !== picture) return;
  showEncoding({ box: $("encoding"), bar: $("encoding-bar"), text: $("encoding-text") }, network, progress);
  if (progress.state === "running" || progress.state === "waiting") say(`${spaced(network)} reads the picture …`);
});
const callbacks = { redraw: () => stage.redraw(), report: heard, fail };
const sides = { left: new Side("left", encoder, callbacks), right: new Side("right", encoder, callbacks) };
const stage = new Stage(
  { stage: $("stage"), canvas: $("canvas"), wipe: $("wipe"), overview: $("overview") },
  { moved, wiped: labelSides },
);
stage.sides = sides;

const saving = new Saving(
  {
    width: $("width"),
    height: $("height"),
    locked: $("locked"),
    scales: [...$("scales").children],
    formats: named("format"),
    quality: $("quality"),
    qualityRow: $("quality-row"),
    qualityValue: $("quality-value"),
    note: $("save-note"),
    save: $("save"),
    progress: $("saving"),
    bar: $("saving-bar"),
    text: $("saving-text"),
    cancel: $("saving-cancel"),
    error: $("save-error"),
    done: say,
  },
  encoder,
  () => ({ network: chosen.network, precision: chosen.precision, budget: chosen.budget }),
);

function say(line) {
  $("status").textContent = line;
}

function fail(error) {
  $("notice-text").textContent = error.message;
  $("notice").hidden = false;
}

// --- the picture ---

async function open(load) {
  $("notice").hidden = true;
  $("stage").dataset.opening = "";
  try {
    await show(await load());
  } catch (error) {
    fail(error);
  } finally {
    delete $("stage").dataset.opening;
  }
}

async function show(facts) {
  const former = picture;
  const { image } = await server.preview(facts.key);
  picture = facts;
  if (former && former.key !== facts.key && former.key !== firstKey) server.forget(former.key).catch(() => {});
  encoder.forget();
  for (const side of Object.values(sides)) side.setPicture(picture, image);
  $("stage").dataset.state = "open";
  $("panel").removeAttribute("data-empty");
  $("to-save").hidden = false;
  $("title").textContent = `${picture.name}, ${picture.width} × ${picture.height}`;
  $("canvas").setAttribute("aria-label", `${picture.name}, ${picture.width} by ${picture.height} pixels`);
  $("hint").hidden = hasZoomed;
  saving.setPicture(picture);
  stage.setWipe(0.5);
  choose({});
  stage.open(picture);
  if (picture.note) say(picture.note);
}

// --- choices ---

function choose(changes) {
  Object.assign(chosen, changes);
  const { network, second, precision, left, budget } = chosen;
  sides.right.setSource({ method: "network", network, precision, budget });
  const isMixture = (name) => encoder.expertsOf(name).length > 0;
  sides.left.setSource({ method: left, network: second, precision, budget: isMixture(second) ? budget : null });
  $("network-note").textContent = $("network").selectedOptions[0]?.dataset.note || "";
  $("second-row").hidden = left !== "network";
  $("strength-row").hidden = !chosen.map;
  $("budget").disabled = budget === null;
  $("budget-value").textContent = budget === null ? "automatic" : `${Math.round(100 * budget)} %`;
  labelSides();
  if (picture) moved();
}

function moved() {
  const { camera } = stage;
  $("zoom").value = camera.position;
  const scale = `×${camera.scale < 9.95 ? camera.scale.toFixed(1) : Math.round(camera.scale)}`;
  $("zoom-value").textContent = scale;
  $("zoom").setAttribute("aria-valuetext", scale);
  $("stage").dataset.scale = camera.scale.toFixed(3);
  if (!camera.isFitted && !hasZoomed) {
    hasZoomed = true;
    $("hint").hidden = true;
  }
  for (const side of Object.values(sides)) side.show(camera, limits.view_pixels);
  askForMap();
}

function askForMap() {
  clearTimeout(mapTimer);
  mapRequest.abort();
  mapRequest = new AbortController();
  if (!chosen.map) {
    stage.map = null;
    stage.redraw();
    return;
  }
  const { signal } = mapRequest;
  mapTimer = setTimeout(() => loadMap(signal), MAP_DELAY);
}

async function loadMap(signal) {
  const { network, precision, budget } = chosen;
  try {
    await encoder.ready(picture, network, precision, signal);
    if (!encoder.expertsOf(network).length) {
      stage.map = null;
      return;
    }
    const window = stage.camera.view().window.join(",");
    const found = await server.map(picture.key, { network, precision, budget, window }, signal);
    stage.map = { image: found.image, window: found.facts.window, strength: Number($("strength").value) / 100 };
    stage.redraw();
  } catch (error) {
    if (!signal.aborted && error.name !== "AbortError") fail(error);
  }
}

// --- what the sides report ---

function heard(side, report) {
  reports[side.name] = report;
  labelSides();
  if (side !== sides.right) return;
  $("stage").dataset.network = report.state;
  const experts = encoder.expertsOf(chosen.network);
  const isKnown = report.state === "ready";
  if (isKnown || report.state === "reduced") {
    showExperts($("legend"), experts, report.shares);
    showCost({ milliseconds: $("milliseconds"), macs: $("macs"), meter: $("meter"), meterValue: $("meter-value") }, report);
  }
  if (isKnown) {
    const isMixture = experts.length > 0;
    $("experts-note").textContent = isMixture
      ? "The more layers an expert has, the more it computes. The network sends each pixel to one expert."
      : "This network has one expert for all pixels, so it has neither map nor budget.";
    $("map").disabled = !isMixture;
    $("automatic").disabled = !isMixture;
    if (report.macs === undefined) say(`${$("zoom-value").textContent} in ${inTime(report.milliseconds)}`);
  }
  if (report.state === "reduced") say("The picture is reduced here. Zoom in to see the network.");
}

function labelSides() {
  const { left, second, network } = chosen;
  const text = { nearest: "Nearest", bicubic: "Bicubic", network: spaced(second) }[left];
  label($("left-label"), text, left === "network" && reports.left.state === "busy", stage.wipe > 0.04);
  const shown = reports.right.state === "reduced" ? "Reduced" : spaced(network);
  label($("right-label"), shown, reports.right.state === "busy", stage.wipe < 0.96);
}

function label(element, text, isBusy, isShown) {
  element.textContent = text;
  element.toggleAttribute("data-busy", isBusy);
  element.hidden = !isShown;
}

// --- listeners ---

function setBudget() {
  const budget = $("automatic").checked ? null : Number($("budget").value) / 100;
  choose({ budget });
}

function chooseNetwork(name) {
  $("legend").replaceChildren();
  if (chosen.budget !== null) {
    $("automatic").checked = true; // the next network may have no mixture
    $("budget").disabled = true;
  }
  $("automatic").disabled = false;
  $("map").disabled = false;
  choose({ network: name, budget: null });
}

function listen() {
  $("network").addEventListener("change", (event) => chooseNetwork(event.target.value));
  $("second").addEventListener("change", (event) => choose({ second: event.target.value }));
  $("precision").addEventListener("change", (event) => choose({ precision: event.target.value }));
  for (const each of named("left")) each.addEventListener("change", () => choose({ left: each.value }));
  $("map").addEventListener("change", (event) => choose({ map: event.target.checked }));
  $("strength").addEventListener("input", (event) => {
    if (stage.map) stage.map.strength = Number(event.target.value) / 100;
    stage.redraw();
  });
  $("automatic").addEventListener("change", setBudget);
  $("budget").addEventListener("input", setBudget);
  $("zoom").addEventListener("input", (event) => {
    stage.camera.position = Number(event.target.value);
    stage.moved();
  });
  $("zoom-in").addEventListener("click", () => stage.zoomBy(1.5));
  $("zoom-out").addEventListener("click", () => stage.zoomBy(1 / 1.5));
  $("fit").addEventListener("click", () => stage.fit());
  $("to-save").addEventListener("click", () => {
    $("save-group").scrollIntoView({ block: "end" });
    $("save").focus();
  });
  $("help").addEventListener("click", () => $("help-dialog").showModal());
  $("notice-close").addEventListener("click", () => ($("notice").hidden = true));
  $("hint-close").addEventListener("click", () => ($("hint").hidden = true));
  $("theme").addEventListener("click", nextTheme);
  document.addEventListener("keydown", shortcut);
}

function shortcut(event) {
  const isTyping = event.target.matches?.("input, select, textarea") && event.target.type !== "range";
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || $("help-dialog").open) return;
  const actions = {
    m: () => !$("map").disabled && $("map").click(),
    o: () => $("file").click(),
    s: () => saving.save(),
    "?": () => $("help-dialog").showModal(),
  };
  actions[event.key.toLowerCase()]?.();
}

function nextTheme() {
  const themes = ["", "light", "dark"];
  const next = themes[(themes.indexOf(document.documentElement.dataset.theme || "") + 1) % themes.length];
  if (next) document.documentElement.dataset.theme = next;
  else delete document.documentElement.dataset.theme;
  $("theme").setAttribute("aria-label", `Colours: ${next || "as the system"}`);
  stage.recolour();
}

async function start() {
  const found = await server.start();
  limits = found;
  const isOnThisMachine = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  $("privacy").textContent = isOnThisMachine
    ? "The picture stays on this computer."
    : `The picture is sent to ${location.hostname} and to nobody else.`;
  const others = found.networks.filter(({ name }) => name !== found.network);
  fillNetworks($("network"), found.networks, found.network);
  fillNetworks($("second"), found.networks, others[0]?.name || found.network);
  [...$("network").options].forEach((each, i) => (each.dataset.note = found.networks[i].note));
  fillPrecisions($("precision"), found.precisions, found.device);
  $("try").hidden = !found.samples.length;
  $("panel").dataset.empty = "";
  choose({ network: found.network, second: $("second").value });
  listenForPictures(
    { stage: $("stage"), file: $("file"), buttons: [$("open"), $("choose")], samples: $("samples") },
    found.samples,
    { open, fail },
  );
  listen();
  stage.setWipe(0.5);
  firstKey = found.picture?.key ?? null;
  if (found.picture) await open(async () => found.picture);
}

start().catch(fail);
