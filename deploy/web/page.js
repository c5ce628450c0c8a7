// The page of a static folder: pictures and this browser's camera, judged here.
import { Engine } from "./engine.js";
import { Given, judgedHere, takeDropped } from "./given.js";
import { byId, chip } from "./places.js";
import { shared } from "./state.js";

const LEAST = 0.5; // the share below which a face is "unsure"

const given = new Given(
  document.querySelector(".view"),
  async (source, file) => judgedHere(await opened, source, file, LEAST),
  () => new Promise(requestAnimationFrame), // none comes while the page is hidden
);
const opened = start();

async function start() {
  try {
    const engine = await Engine.open();
    shared.labels = engine.spec.labels;
    shared.threshold = LEAST;
    given.view.label();
    byId("judge").textContent = `Judged by ${engine.name}.`;
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

takeDropped((file) => given.open(file));
if (navigator.serviceWorker)
  navigator.serviceWorker.register("worker.js").then(
    () => navigator.serviceWorker.ready.then(() => (byId("offline").hidden = false)),
    () => {}, // over plain http there is none; the page works, but not offline
  );
