import { byId, figure } from "./places.js";
import { awake, call, sleep } from "./program.js";
import { shared } from "./state.js";
import { STALE_MS, Timeline } from "./timeline.js";
import { View } from "./view.js";
import { milliseconds, seconds } from "./words.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

export const live = new View(document.querySelector('[data-name="live"]'), false);
let timeline = new Timeline(byId("time"));
let shownAt = 0;
let stages = {}; // ms, smoothed so that they can be read
let figuresAt = 0;
let after = 0; // the number of the picture shown

// Another camera: nothing of the one before is shown as its own.
export function start() {
  timeline = new Timeline(byId("time"));
  [stages, after, shared.newest, shownAt] = [{}, 0, null, 0];
  for (const id of ["fps", "age", "dropped"]) figure(id, "–");
  live.clear("Waiting for the first picture …");
}

export async function followPictures() {
  for (;;) {
    await awake();
    // Without the labels nobody could say what a face shows.
    if (byId("live").hidden || shared.source === "none" || shared.labels.length === 0) {
      await sleep(100);
      continue;
    }
    const name = shared.chosen;
    try {
      const response = await call(`api/picture?source=${encodeURIComponent(name)}&after=${after}`);
      if (response.status === 204 || name !== shared.chosen) continue;
      const scene = JSON.parse(response.headers.get("LC2FER-Scene"));
      const bitmap = await createImageBitmap(await response.blob());
      if (name !== shared.chosen) continue;
      after = scene.number;
      showScene(scene, bitmap);
    } catch {
      await sleep(1000); // followStatus says what is wrong
    }
  }
}

function showScene(scene, bitmap) {
  const now = performance.now();
  shared.newest = scene;
  shownAt = now;
  for (const [stage, ms] of Object.entries(scene.stages_ms)) stages[stage] = (stages[stage] ?? ms) * 0.9 + ms * 0.1;
  live.show(bitmap, scene.faces, scene.size);
  timeline.add(scene.faces[0], now);
}

export function tick() {
  if (document.hidden || byId("live").hidden) return;
  const now = performance.now();
  if (!still.matches || now - figuresAt > 1000) timeline.draw();
  if (now - figuresAt < 300 && shared.newest !== null) return;
  figuresAt = now;
  const stale = shared.newest !== null && now - shownAt > STALE_MS;
  live.host.classList.toggle("old", stale && shared.source !== "ended");
  if (shared.newest === null) return;
  figure("fps", stale ? "–" : shared.newest.fps.toFixed(shared.newest.fps < 10 ? 1 : 0));
  byId("age-title").textContent = stale ? "Since the last picture" : "Age when judged";
  if (stale) figure("age", seconds((now - shownAt) / 1000), "s");
  else figure("age", milliseconds(shared.newest.age_ms), "ms");
  figure("dropped", shared.newest.dropped.toLocaleString("en"));
  showStages();
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
        const [swatch, term, value] = ["span", "dt", "dd"].map((tag) => document.createElement(tag));
        swatch.className = `swatch s${place % 6}`;
        term.textContent = name;
        row.append(swatch, term, value);
        return row;
      }),
    );
  }
  names.forEach((name, place) => {
    byId("stages").children[place].style.flexGrow = stages[name];
    byId("stage-list").children[place].lastChild.textContent = `${milliseconds(stages[name])} ms`;
  });
}

// Says a new expression of the largest face to screen readers, once it has lasted a while.
let said = "";
let heard = ["", 0];

export function say() {
  timeline.canvas.setAttribute("aria-label", timeline.words());
  const view = byId("live").hidden ? null : live;
  if (!view || shared.newest === null) return;
  const text = view.faces.length ? `Largest face: ${view.faces[0].expression ?? "unsure"}.` : "No face in view.";
  heard = heard[0] === text ? [text, heard[1] + 1] : [text, 1];
  if (heard[1] === 2 && text !== said) byId("said").textContent = said = text;
}
