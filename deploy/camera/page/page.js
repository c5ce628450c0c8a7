"use strict";

// Okabe and Ito's colours, which colour-blind people can tell apart, in the order of the model's labels.
const COLOURS = ["#56b4e9", "#cc79a7", "#009e73", "#e69f00", "#0072b2", "#d55e00", "#999999", "#f0e442"];
const SHOWN_S = 60; // of the timeline
const STALE_MS = 2000;
const MOST_BYTES = 10_000_000;
const AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp"];

const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const percent = (share) => `${Math.round(share * 100)} %`;
const colour = (label) => COLOURS[label % COLOURS.length];
const still = matchMedia("(prefers-reduced-motion: reduce)");

let labels = [];
let threshold = null; // the share below which a label is not named, if the program says it
let state = "starting";
let locked = false; // until a token is given

// ---- the program ----------------------------------------------------------------------------------------------------

// The token comes in the address's fragment, which no server and no log sees, and leaves the address at once.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem("lc2fer-token", given);
  history.replaceState(null, "", location.pathname + location.search);
  lock(false);
}

function lock(on, text) {
  locked = on;
  byId("key").hidden = !on;
  byId("main").hidden = on;
  if (on) {
    if (sessionStorage.getItem("lc2fer-token") !== null) byId("key-text").textContent = text;
    sessionStorage.removeItem("lc2fer-token");
    chip("locked", "locked");
    byId("key-token").focus();
  }
}

async function call(path, options = {}) {
  const token = sessionStorage.getItem("lc2fer-token");
  const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const { error: text } = await response.json().catch(() => ({}));
  if (response.status === 401 && !locked) {
    // The answer may be to a request of before: a token that was given since is not judged by it.
    if (sessionStorage.getItem("lc2fer-token") !== token) return call(path, options);
    lock(true, text);
  }
  throw Object.assign(new Error(text ?? `The program answered ${response.status}.`), { status: response.status });
}

async function awake() {
  while (document.hidden || locked) await sleep(200);
}

async function followStatus() {
  for (;;) {
    await awake();
    try {
      showStatus(await (await call("api/status")).json());
    } catch (error) {
      if (error.status === undefined)
        banner("offline", "The program does not answer. This page goes on asking.", "no connection");
      else if (!locked) banner("offline", error.message, "failed");
    }
    await sleep(1000);
  }
}

async function followPictures() {
  let after = 0;
  for (;;) {
    await awake();
    if (byId("live").hidden || state === "none") {
      await sleep(200);
      continue;
    }
    try {
      const response = await call(`api/picture?after=${after}`);
      if (response.status === 204) continue;
      const scene = JSON.parse(response.headers.get("LC2FER-Scene"));
      const bitmap = await createImageBitmap(await response.blob());
      after = scene.number;
      showScene(scene, bitmap);
    } catch {
      await sleep(1000); // followStatus says what is wrong
    }
  }
}

// ---- a picture, its faces and the probabilities of one of them ------------------------------------------------------

class View {
  constructor(host, mirrored) {
    host.append(byId("view").content.cloneNode(true));
    const find = (selector) => host.querySelector(selector);
    this.host = host;
    this.stage = find(".stage");
    this.canvas = find("canvas");
    this.veil = find(".veil");
    this.chooser = find(".chooser");
    this.who = find(".who");
    this.swatch = find(".word .swatch");
    this.name = find(".word .name");
    this.share = find(".word .share");
    this.sure = find(".sure");
    this.bars = find(".bars");
    this.hint = find(".hint");
    this.mirrored = mirrored;
    this.bitmap = null;
    this.faces = [];
    this.size = [4, 3];
    this.chosen = null; // a track
    this.buttons = new Map();
    this.writing = 0;
    this.wrote = 0;
    this.canvas.addEventListener("click", (event) => this.choose(this.faceAt(event)?.track ?? null));
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  label() {
    this.bars.replaceChildren(
      ...labels.map((label, place) => {
        const row = document.createElement("li");
        row.innerHTML =
          '<span class="label"></span><span class="track"><span class="fill"></span></span><span class="percent"></span>';
        row.firstChild.textContent = row.firstChild.dataset.label = label; // its bold form takes the room from the start
        row.querySelector(".fill").style.background = colour(place);
        if (threshold !== null) {
          const tick = document.createElement("span");
          tick.className = "tick";
          tick.style.left = `${threshold * 100}%`;
          row.querySelector(".track").append(tick);
        }
        return row;
      }),
    );
    this.hint.hidden = threshold === null;
    if (threshold !== null) this.hint.lastChild.textContent = ` ${percent(threshold)}, needed for an answer`;
    this.write();
  }

  show(bitmap, faces, size) {
    if (this.bitmap !== bitmap) this.bitmap?.close();
    Object.assign(this, { bitmap, faces, size });
    this.veil.textContent = "";
    this.stage.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    this.update();
  }

  update() {
    this.draw();
    const shares = this.face()?.probabilities ?? [];
    [...this.bars.children].forEach((row, place) => {
      row.querySelector(".fill").style.transform = `translateX(${((shares[place] ?? 0) - 1) * 100}%)`;
    });
    // Words and numbers five times a second: nobody reads them faster.
    const wait = Math.max(0, this.wrote + 200 - performance.now());
    this.writing ||= setTimeout(() => this.write(), wait);
  }

  face() {
    return this.faces.find((face) => face.track === this.chosen) ?? this.faces[0];
  }

  choose(track) {
    this.chosen = track;
    this.update();
  }

  faceAt(event) {
    const { x, y, scale } = this.place();
    const [across, down] = [(event.offsetX - x) / scale, (event.offsetY - y) / scale];
    return this.faces.find((face) => {
      const [left, top, width, height] = this.boxOf(face);
      return across >= left && across <= left + width && down >= top && down <= top + height;
    });
  }

  boxOf(face) {
    const [left, top, width, height] = face.box;
    return [this.mirrored ? this.size[0] - left - width : left, top, width, height];
  }

  // Where the picture lies in the stage, in CSS pixels; scale is CSS pixels a pixel of the judged picture.
  place() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = Math.min(width / this.size[0], height / this.size[1]);
    return { x: (width - this.size[0] * scale) / 2, y: (height - this.size[1] * scale) / 2, scale };
  }

  draw() {
    if (!this.bitmap || !this.stage.clientWidth) return;
    const pen = sized(this.canvas, this.stage.clientWidth, this.stage.clientHeight);
    const { x, y, scale } = this.place();
    const [width, height] = this.size.map((side) => side * scale);
    pen.save();
    if (this.mirrored) {
      pen.translate(2 * x + width, 0);
      pen.scale(-1, 1);
    }
    pen.drawImage(this.bitmap, x, y, width, height);
    pen.restore();
    const shown = this.face();
    for (const face of [...this.faces].reverse()) this.drawFace(pen, face, face === shown, { x, y, scale, width });
  }

  drawFace(pen, face, shown, { x, y, scale, width }) {
    const box = this.boxOf(face).map((side) => side * scale);
    const place = labels.indexOf(face.expression);
    const tint = place < 0 ? "#ffffff" : colour(place);
    const [left, top] = [x + box[0], y + box[1]];
    const line = shown || this.faces.length === 1 ? 3 : 1.75;
    pen.lineJoin = "round";
    for (const [stroke, breadth] of [
      ["rgb(0 0 0 / 55%)", line + 2.5],
      [tint, line],
    ]) {
      pen.strokeStyle = stroke;
      pen.lineWidth = breadth;
      pen.setLineDash(place < 0 ? [7, 5] : []);
      pen.beginPath();
      pen.roundRect(left + line, top + line, Math.max(1, box[2] - 2 * line), Math.max(1, box[3] - 2 * line), 8);
      pen.stroke();
    }
    pen.setLineDash([]);
    const sure = place < 0 ? "unsure" : `${face.expression} ${percent(face.probabilities[place])}`;
    const text = this.faces.length > 1 ? `${face.track} · ${sure}` : sure;
    pen.font = `${shown ? 600 : 500} 14px system-ui, sans-serif`;
    const wide = pen.measureText(text).width + 16;
    const at = Math.max(x, Math.min(left, x + width - wide));
    const above = top - 28 >= y ? top - 27 : top + 5;
    pen.fillStyle = tint;
    pen.beginPath();
    pen.roundRect(at, above, wide, 24, 6);
    pen.fill();
    pen.fillStyle = bright(tint) ? "#000" : "#fff";
    pen.textBaseline = "middle";
    pen.fillText(text, at + 8, above + 12.5);
  }

  write() {
    clearTimeout(this.writing);
    this.writing = 0;
    this.wrote = performance.now();
    const face = this.face();
    const shares = face?.probabilities ?? [];
    const order = shares.map((share, place) => [share, place]).sort((first, second) => second[0] - first[0]);
    const named = face ? labels.indexOf(face.expression) : -1;
    this.who.textContent = face && face.track === this.chosen ? `Face ${face.track}, chosen` : "Largest face";
    this.name.textContent = !face ? (this.bitmap ? "no face" : "–") : named < 0 ? "unsure" : labels[named];
    this.share.textContent = named < 0 ? "" : percent(shares[named]);
    this.swatch.style.background = named < 0 ? "" : colour(named);
    const other = order.find(([, place]) => place !== named);
    this.sure.textContent = !other ? "" : `${named < 0 ? "Closest" : "Next"}: ${labels[other[1]]} ${percent(other[0])}`;
    [...this.bars.children].forEach((row, place) => {
      row.classList.toggle("named", place === named);
      row.lastChild.textContent = face ? percent(shares[place]) : "–";
    });
    this.canvas.classList.toggle("choosable", this.faces.length > 1);
    this.canvas.setAttribute("aria-label", this.bitmap ? this.words() : "No picture yet.");
    this.offer();
  }

  words() {
    const each = this.faces.map((face) => face.expression ?? "unsure");
    return each.length === 0
      ? "No face in view."
      : `${each.length === 1 ? "One face" : `${each.length} faces`}: ${each.join(", ")}.`;
  }

  // One button a face and one for "whichever is largest"; kept by track, so that the focus stays.
  offer() {
    const wanted = new Map([
      [null, "Largest"],
      ...[...this.faces]
        .sort((first, second) => first.track - second.track)
        .map((face) => [face.track, `${face.track} · ${face.expression ?? "unsure"}`]),
    ]);
    this.chooser.hidden = this.faces.length < 2;
    for (const [track, button] of this.buttons) {
      if (!wanted.has(track)) {
        button.remove();
        this.buttons.delete(track);
      }
    }
    for (const [track, text] of wanted) {
      if (!this.buttons.has(track)) {
        const button = document.createElement("button");
        button.type = "button";
        button.addEventListener("click", () => this.choose(track));
        this.buttons.set(track, button);
        this.chooser.append(button);
      }
      const button = this.buttons.get(track);
      if (button.textContent !== text) button.textContent = text;
      button.setAttribute("aria-pressed", String(track === this.chosen));
    }
  }
}

// The canvas at the screen's own resolution, empty, in CSS pixels.
function sized(canvas, width, height) {
  const dense = window.devicePixelRatio || 1;
  const [across, down] = [Math.round(width * dense), Math.round(height * dense)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  const pen = canvas.getContext("2d");
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

function bright(hex) {
  const [red, green, blue] = [1, 3, 5].map((start) => (parseInt(hex.slice(start, start + 2), 16) / 255) ** 2.2);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.2;
}

// ---- the timeline: a lane for each expression, so that nothing is told by colour alone ------------------------------

class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.runs = []; // {from, to, lane}, times in ms; the lane after the last label is "unsure"
    this.lane = null;
  }

  add(face, now) {
    const found = face ? labels.indexOf(face.expression) : null;
    const lane = found === -1 ? labels.length : found;
    const last = this.runs.at(-1);
    const goesOn = last && this.lane !== null && now - last.to < STALE_MS;
    if (goesOn) last.to = now;
    if (lane !== null && !(goesOn && last.lane === lane)) this.runs.push({ from: now, to: now, lane });
    this.lane = lane;
    while (this.runs.length && this.runs[0].to < now - SHOWN_S * 1000) this.runs.shift();
  }

  draw() {
    const width =
      this.canvas.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(this.canvas.parentElement).paddingLeft);
    if (width <= 0 || labels.length === 0) return;
    const [names, row] = [[...labels, "unsure"], 20];
    const height = names.length * row + 20;
    this.canvas.style.height = `${height}px`;
    const pen = sized(this.canvas, width, height);
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, band, line] = ["--ink", "--quiet", "--band", "--line"].map((name) =>
      style.getPropertyValue(name),
    );
    pen.font = "600 13px system-ui, sans-serif";
    const left = Math.max(...names.map((name) => pen.measureText(name).width)) + 30;
    const now = performance.now();
    const across = (time) => left + (width - left) * (1 - (now - time) / (SHOWN_S * 1000));
    pen.textBaseline = "middle";
    names.forEach((name, lane) => {
      const middle = lane * row + row / 2;
      this.block(pen, 2, middle - 6, 12, 12, lane, quiet);
      pen.fillStyle = lane === this.lane ? ink : quiet;
      pen.font = `${lane === this.lane ? 600 : 400} 13px system-ui, sans-serif`;
      pen.fillText(name, 21, middle + 0.5);
      pen.fillStyle = band;
      pen.fillRect(left, middle - 7, width - left, 14);
    });
    pen.font = "12px system-ui, sans-serif";
    for (let ago = SHOWN_S; ago >= 0; ago -= width - left < 260 ? 30 : 15) {
      const x = across(now - ago * 1000);
      pen.fillStyle = line;
      pen.fillRect(Math.min(x, width - 1), 0, 1, names.length * row);
      pen.fillStyle = quiet;
      pen.textAlign = ago === SHOWN_S ? "left" : ago === 0 ? "right" : "center";
      pen.fillText(ago === 0 ? "now" : `−${ago} s`, x, height - 8);
    }
    pen.textAlign = "left";
    for (const { from, to, lane } of this.runs) {
      const start = Math.max(left, across(from));
      const end = Math.max(start + 2, across(to));
      this.block(pen, start, lane * row + 3, end - start, row - 6, lane, quiet);
    }
  }

  block(pen, x, y, width, height, lane, quiet) {
    pen.beginPath();
    pen.roundRect(x, y, width, height, 3);
    if (lane < labels.length) {
      pen.fillStyle = colour(lane);
      pen.fill();
    } else {
      pen.strokeStyle = quiet;
      pen.lineWidth = 1.5;
      pen.setLineDash([3, 2]);
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  words() {
    const since = performance.now() - SHOWN_S * 1000;
    const seconds = new Map();
    for (const { from, to, lane } of this.runs) {
      seconds.set(lane, (seconds.get(lane) ?? 0) + Math.max(0, to - Math.max(from, since)) / 1000);
    }
    const parts = [...seconds]
      .sort((first, second) => second[1] - first[1])
      .map(([lane, length]) => `${labels[lane] ?? "unsure"} ${Math.round(length)} s`);
    return parts.length ? `In the last 60 seconds: ${parts.join(", ")}.` : "No face in the last 60 seconds.";
  }
}

// ---- the live part --------------------------------------------------------------------------------------------------

const live = new View(document.querySelector('[data-name="live"]'), false);
const timeline = new Timeline(byId("time"));
let newest = null; // the scene shown
let shownAt = 0;
let stages = {}; // ms, smoothed so that they can be read
let figuresAt = 0;

function showScene(scene, bitmap) {
  const now = performance.now();
  newest = scene;
  shownAt = now;
  for (const [stage, ms] of Object.entries(scene.stages_ms)) stages[stage] = (stages[stage] ?? ms) * 0.9 + ms * 0.1;
  live.show(bitmap, scene.faces, scene.size);
  timeline.add(scene.faces[0], now);
}

function tick() {
  if (document.hidden || byId("live").hidden) return;
  const now = performance.now();
  if (!still.matches || now - figuresAt > 1000) timeline.draw();
  if (now - figuresAt < 300 && newest !== null) return;
  figuresAt = now;
  const stale = newest !== null && now - shownAt > STALE_MS;
  live.host.classList.toggle("old", stale && state !== "ended");
  if (newest === null) return;
  figure("fps", stale ? "–" : newest.fps.toFixed(newest.fps < 10 ? 1 : 0));
  byId("age-title").textContent = stale ? "Since the last picture" : "Age when judged";
  if (stale) figure("age", seconds((now - shownAt) / 1000), "s");
  else figure("age", milliseconds(newest.age_ms), "ms");
  figure("dropped", newest.dropped.toLocaleString("en"));
  showStages();
}

const seconds = (value) => (value < 100 ? value.toFixed(0) : Math.round(value).toLocaleString("en"));
const milliseconds = (value) => (value < 10 ? value.toFixed(1) : value.toFixed(0));

function figure(id, value, unit = "") {
  const place = byId(id);
  const small = document.createElement("small");
  small.textContent = unit;
  place.replaceChildren(value, ...(unit ? [" ", small] : []));
}

function showStages() {
  const names = Object.keys(stages);
  if (byId("stages").children.length !== names.length) {
    byId("stages").replaceChildren(
      ...names.map((_, place) => Object.assign(document.createElement("span"), { className: `s${place % 6}` })),
    );
    byId("stage-list").replaceChildren(
      ...names.map((name, place) => {
        const row = document.createElement("div");
        row.innerHTML = `<span class="swatch s${place % 6}"></span><dt></dt><dd></dd>`;
        row.querySelector("dt").textContent = name;
        return row;
      }),
    );
  }
  names.forEach((name, place) => {
    byId("stages").children[place].style.flexGrow = stages[name];
    byId("stage-list").children[place].lastChild.textContent = `${milliseconds(stages[name])} ms`;
  });
}

function chip(kind, text) {
  byId("chip").dataset.state = kind;
  byId("chip-text").textContent = text;
}

function banner(kind, text, short) {
  const place = byId("banner");
  place.hidden = kind === "live" || (kind === "none" && byId("live").hidden);
  place.dataset.state = kind;
  if (place.textContent !== text) place.textContent = text;
  chip(kind, short);
}

let toldBefore = "";

function showStatus({ status, facts, labels: given }) {
  const first = toldBefore === "";
  state = status.state;
  banner(state, status.text, state === "none" ? "no camera" : state);
  if (newest === null)
    live.veil.textContent = state === "none" ? "There is no camera here." : "Waiting for the first picture …";
  if (first && state === "none") select("own");
  if (typeof facts.watts === "number") figure("watts", facts.watts.toFixed(1), "W");
  else figure("watts", "no meter");
  const { watts, ...others } = facts;
  const told = JSON.stringify([others, given]);
  if (told === toldBefore) return;
  toldBefore = told;
  labels = given;
  threshold = typeof facts.threshold === "number" ? facts.threshold : null;
  if (threshold !== null)
    byId("threshold").textContent =
      `When no label reaches ${percent(threshold)}, the answer is "unsure" and not a guess.`;
  byId("about").textContent =
    [facts.model, facts.engine ?? facts.target].filter(Boolean).map(words).join(" · ") || "What it runs is not said";
  byId("fact-list").replaceChildren(
    ...Object.entries(others).flatMap(([name, value]) => [
      Object.assign(document.createElement("dt"), { textContent: name.replaceAll("_", " ") }),
      Object.assign(document.createElement("dd"), { textContent: words(value) }),
    ]),
  );
  byId("facts").hidden = Object.keys(others).length === 0;
  for (const view of [live, own]) view.label();
}

function words(value) {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (typeof value === "object")
    return Object.entries(value)
      .map(([name, one]) => `${name} ${words(one)}`)
      .join(", ");
  return typeof value === "boolean" ? (value ? "yes" : "no") : String(value);
}

// Says a new expression of the largest face to screen readers, once it has lasted a while.
let said = "";
let heard = ["", 0];

function say() {
  timeline.canvas.setAttribute("aria-label", timeline.words());
  const view = byId("live").hidden ? null : live;
  if (!view || newest === null) return;
  const text = view.faces.length ? `Largest face: ${view.faces[0].expression ?? "unsure"}.` : "No face in view.";
  heard = heard[0] === text ? [text, heard[1] + 1] : [text, 1];
  if (heard[1] === 2 && text !== said) byId("said").textContent = said = text;
}

// ---- the viewer's own picture ---------------------------------------------------------------------------------------

const own = new View(document.querySelector('[data-name="own"]'), false);
own.veil.textContent = "Your picture will be shown here.";
let asked = 0; // a newer picture makes answers to older ones void
let camera = null;

async function judge(blob, bitmap) {
  const turn = ++asked;
  const response = await call("api/judge", { method: "POST", body: blob, headers: { "Content-Type": blob.type } });
  const answer = await response.json();
  if (turn !== asked) {
    bitmap.close();
    return null;
  }
  own.show(bitmap, answer.faces, answer.size);
  return answer;
}

async function judgeFile(file) {
  stopCamera();
  byId("own-error").textContent = "";
  own.mirrored = false;
  own.chosen = null;
  byId("own-text").textContent = "Judging …";
  try {
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error(
        `${file.name || "What was given"} is no picture that this browser can open. Choose a JPEG or PNG.`,
      );
    });
    const small = AS_THEY_ARE.includes(file.type) && file.size <= MOST_BYTES;
    const answer = await judge(small ? file : await asJpeg(bitmap, 2000, 0.95), bitmap);
    if (answer) byId("own-text").textContent = `${own.words()} Judged in ${milliseconds(answer.ms)} ms.`;
  } catch (error) {
    byId("own-text").textContent = "";
    byId("own-error").textContent =
      error.status === undefined && error instanceof TypeError ? "The program does not answer." : error.message;
  }
}

function asJpeg(source, longest, quality) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
  });
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
}

async function startCamera() {
  byId("own-error").textContent = "";
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  try {
    camera = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: 640 } },
      audio: false,
    });
    video.srcObject = camera;
    await video.play();
  } catch (error) {
    stopCamera();
    byId("own-error").textContent = `The browser gave no camera: ${error.message}.`;
    return;
  }
  byId("camera").textContent = "Stop the camera";
  own.mirrored = true; // as people know themselves
  own.chosen = null;
  const mine = camera;
  const times = [];
  while (camera === mine) {
    await awake();
    try {
      const blob = await asJpeg(video, 640, 0.9); // the next one is taken when this one is answered
      const answer = await judge(blob, await createImageBitmap(blob));
      times.push(performance.now());
      if (times.length > 20) times.shift();
      const rate = (times.length - 1) / ((times.at(-1) - times[0]) / 1000 || 1);
      if (answer)
        byId("own-text").textContent =
          `${rate.toFixed(0)} pictures a second, each judged in ${milliseconds(answer.ms)} ms.`;
      byId("own-error").textContent = "";
    } catch (error) {
      byId("own-error").textContent = error.message;
      await sleep(1000);
    }
  }
}

function stopCamera() {
  if (camera === null) return;
  for (const track of camera.getTracks()) track.stop();
  camera = null;
  asked += 1;
  byId("camera").textContent = "Use this browser's camera";
  byId("own-text").textContent = "";
}

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) judgeFile(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
byId("camera").addEventListener("click", () => (camera === null ? startCamera() : stopCamera()));
if (!navigator.mediaDevices) {
  byId("camera").disabled = true;
  byId("camera-why").hidden = false;
  byId("camera-why").textContent =
    "Browsers lend their camera only to pages that come from localhost or over https, and this one does not. " +
    `With "ssh -L 8000:localhost:${location.port || 80} ${location.hostname}" the page is also at http://localhost:8000.`;
}
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
for (const [kind, carried] of [
  ["drop", "dataTransfer"],
  ["paste", "clipboardData"],
]) {
  document.addEventListener(kind, (event) => {
    document.body.classList.remove("dropping");
    const file = event[carried]?.files[0];
    if (kind === "drop") event.preventDefault();
    if (!file || locked) return;
    select("own");
    judgeFile(file);
  });
}

// ---- tabs and the start ---------------------------------------------------------------------------------------------

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(name) {
  for (const tab of tabs) {
    const on = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).hidden = !on;
  }
  if (name === "live") stopCamera();
  (name === "live" ? live : own).update();
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab.getAttribute("aria-controls")));
  tab.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    const other = event.key === "Home" ? tabs[0] : event.key === "End" ? tabs.at(-1) : tabs.find((one) => one !== tab);
    select(other.getAttribute("aria-controls"));
    other.focus();
    event.preventDefault();
  });
}
byId("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("lc2fer-token", byId("key-token").value);
  byId("key-token").value = "";
  lock(false);
});
window.addEventListener("hashchange", takeToken);
takeToken();
setInterval(tick, 100);
setInterval(say, 1000);
followStatus();
followPictures();
