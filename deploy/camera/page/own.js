import { drawn, Given, judgedHere } from "./given.js";
import { byId } from "./places.js";
import { awake, call, sleep } from "./program.js";
import { shared } from "./state.js";

const MOST_BYTES = 10_000_000;
const AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp"];

const given = new Given(document.querySelector('[data-name="own"]'), judge, awake);
export const own = given.view;
export const judgeFile = (file) => given.open(file);
export const stopCamera = () => given.stop();
let engine = null; // a promise of the one that runs in this browser, from the first picture on
let name = ""; // of what judges there

async function judge(source, file) {
  while (shared.labels.length === 0) await sleep(100); // without them nobody could say what a face shows
  if (byId("here").checked) return judgedHere(await opened(), source, file, shared.threshold ?? 0);
  const asItIs = file && AS_THEY_ARE.includes(file.type) && file.size <= MOST_BYTES;
  const blob = asItIs ? file : await asJpeg(drawn(source, file), file ? 0.95 : 0.9);
  const headers = { "Content-Type": blob.type };
  const answer = await call("api/judge", { method: "POST", body: blob, headers }).catch((error) => {
    throw error.status === undefined ? new Error("The program does not answer.") : error;
  });
  return { ...(await answer.json()), bitmap: file ? source : await createImageBitmap(blob) };
}

const asJpeg = (canvas, quality) => new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));

function opened() {
  engine ??= import("./engine/engine.js")
    .then(({ Engine }) => Engine.open({ get: call }))
    .then((its) => {
      name = its.name;
      tell();
      return its;
    })
    .catch((error) => {
      engine = null; // the next picture may try again
      throw new Error(`This browser's engine could not be opened: ${error.message}.`);
    });
  return engine;
}

// Whether this browser can judge by itself: the program has the folder for it, or not.
export function offerEngine(there) {
  if (byId("here-choice").hidden !== there) return;
  byId("here-choice").hidden = !there;
  byId("here").checked = there;
  tell();
}

function tell() {
  byId("own-goes").textContent = byId("here").checked
    ? `It stays in this browser, which judges it${name && ` by ${name}`}.`
    : "It goes to the program that serves this page, is judged there and forgotten.";
}

byId("here").addEventListener("change", tell);
if (!navigator.mediaDevices)
  byId("camera-why").textContent +=
    ` With "ssh -L 8000:localhost:${location.port || 80} ${location.hostname}" the page is also at http://localhost:8000.`;
