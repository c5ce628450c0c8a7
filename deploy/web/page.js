// The page of a static folder: pictures and this browser's camera, judged here.
import { Engine } from "./engine.js";
import { byId, chip } from "./places.js";
import { shared } from "./state.js";
import { View } from "./view.js";
import { milliseconds } from "./words.js";

const LEAST = 0.5; // the share below which a face is "unsure"
const LONGEST = 2000; // pixels of a picture's longer side that are looked at
const CAMERA = 640;

const own = new View(document.querySelector(".view"), false);
own.veil.textContent = "Your picture will be shown here.";
let turn = 0; // a newer picture makes answers to older ones void
let camera = null;

const opened = start();

async function start() {
  try {
    const engine = await Engine.open();
    shared.labels = engine.spec.labels;
    shared.threshold = LEAST;
    own.label();
    chip("live", "ready");
    for (const id of ["file", "camera"]) byId(id).disabled = id === "camera" && !navigator.mediaDevices;
    return engine;
  } catch (error) {
    chip("lost", "failed");
    byId("own-error").textContent =
      `The networks could not be opened: ${error.message}. Serve this folder by a file server; a page from a file cannot ` +
      "load them.";
    throw error;
  }
}

function pixelsOf(source, longest) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(1, longest / Math.max(width, height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
  });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  return { canvas, image: pen.getImageData(0, 0, canvas.width, canvas.height) };
}

async function judge(source, longest, thorough) {
  const mine = ++turn;
  const engine = await opened;
  const { canvas, image } = pixelsOf(source, longest);
  const begun = performance.now();
  const faces = await engine.judge(image, { thorough, least: LEAST });
  const ms = performance.now() - begun;
  if (mine !== turn) return null;
  own.show(await createImageBitmap(canvas), faces, [canvas.width, canvas.height]);
  return ms;
}

async function judgeFile(file) {
  stopCamera();
  byId("own-error").textContent = "";
  own.mirrored = false;
  own.chosen = null;
  byId("own-text").textContent = "Judging …";
  try {
    const bitmap = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name || "What was given"} is no picture that this browser can open. Choose a JPEG or PNG.`);
    });
    const ms = await judge(bitmap, LONGEST, true);
    if (ms !== null) byId("own-text").textContent = `${own.words()} Judged in ${milliseconds(ms)} ms.`;
  } catch (error) {
    byId("own-text").textContent = "";
    byId("own-error").textContent = error.message;
  }
}

async function startCamera() {
  byId("own-error").textContent = "";
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  try {
    camera = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "user", width: { ideal: CAMERA } },
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
    await new Promise(requestAnimationFrame); // none comes while the page is hidden
    const ms = await judge(video, CAMERA, false);
    if (ms === null || camera !== mine) continue;
    times.push(performance.now());
    if (times.length > 20) times.shift();
    const rate = (times.length - 1) / ((times.at(-1) - times[0]) / 1000 || 1);
    byId("own-text").textContent = `${rate.toFixed(0)} pictures a second, each judged in ${milliseconds(ms)} ms.`;
  }
}

function stopCamera() {
  if (camera === null) return;
  for (const track of camera.getTracks()) track.stop();
  camera = null;
  turn += 1;
  byId("camera").textContent = "Use this browser's camera";
  byId("own-text").textContent = "";
}

byId("file").addEventListener("change", (event) => {
  if (event.target.files.length) judgeFile(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
byId("camera").addEventListener("click", () => (camera === null ? startCamera() : stopCamera()));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", () => document.body.classList.remove("dropping"));
for (const [kind, carried] of [
  ["drop", "dataTransfer"],
  ["paste", "clipboardData"],
])
  document.addEventListener(kind, (event) => {
    document.body.classList.remove("dropping");
    if (kind === "drop") event.preventDefault();
    const file = event[carried]?.files[0];
    if (file) judgeFile(file);
  });
if (!navigator.mediaDevices) {
  byId("camera-why").hidden = false;
  byId("camera-why").textContent =
    "Browsers lend their camera only to pages that come from localhost or over https, and this one does not.";
}
if (navigator.serviceWorker)
  navigator.serviceWorker.register("worker.js").then(
    () => navigator.serviceWorker.ready.then(() => (byId("offline").hidden = false)),
    () => {}, // over plain http there is none; the page works, but not offline
  );
