import { byId } from "./places.js";
import { View } from "./view.js";
import { milliseconds } from "./words.js";

const LONGEST = 2000; // pixels of a picture's longer side that are looked at
const CAMERA = 640; // of the camera's
const PAUSE_MS = 1000; // after a picture of the camera that could not be judged

// What a visitor gives: a picture, or this browser's camera, one after another.
export class Given {
  // judge(source, file) gives { bitmap, faces, size, ms } of a bitmap or, where there is no file, of a video; next() comes
  // when the camera's next picture is wanted.
  constructor(host, judge, next) {
    Object.assign(this, { judge, next, view: new View(host, false), turn: 0, camera: null });
    this.view.veil.textContent = "Your picture will be shown here.";
    byId("file").addEventListener("change", (event) => {
      if (event.target.files.length) this.open(event.target.files[0]);
      event.target.value = ""; // the same file may be chosen again
    });
    byId("camera").addEventListener("click", () => (this.camera === null ? this.start() : this.stop()));
    if (navigator.mediaDevices) return;
    byId("camera").disabled = true;
    byId("camera-why").hidden = false;
    byId("camera-why").textContent =
      "Browsers lend their camera only to pages that come from localhost or over https, and this one does not.";
  }

  async open(file) {
    this.stop();
    byId("own-error").textContent = "";
    Object.assign(this.view, { mirrored: false, chosen: null });
    byId("own-text").textContent = "Judging …";
    try {
      const bitmap = await createImageBitmap(file).catch(() => {
        throw new Error(`${file.name || "What was given"} is no picture that this browser can open. Choose a JPEG or PNG.`);
      });
      const answer = await this.show(bitmap, file);
      if (answer) byId("own-text").textContent = `${this.view.words()} Judged in ${milliseconds(answer.ms)}\u00a0ms.`;
    } catch (error) {
      byId("own-text").textContent = "";
      byId("own-error").textContent = error.message;
    }
  }

  async start() {
    byId("own-error").textContent = "";
    const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
    const mine = (this.camera = { tracks: [] }); // who stops it while the visitor is still asked for it gets none
    byId("camera").textContent = "Stop the camera";
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({
        video: { facingMode: "user", width: { ideal: CAMERA } },
        audio: false,
      });
      mine.tracks = video.srcObject.getTracks();
      if (this.camera !== mine) {
        for (const track of mine.tracks) track.stop();
        return;
      }
      for (const track of mine.tracks) track.addEventListener("ended", () => this.lose(mine));
      await video.play();
    } catch (error) {
      if (this.camera !== mine) return;
      this.stop();
      byId("own-error").textContent = `The browser gave no camera: ${error.message}.`;
      return;
    }
    if (this.camera === mine) Object.assign(this.view, { mirrored: true, chosen: null }); // as people know themselves
    const times = [];
    while (this.camera === mine) {
      await this.next();
      if (this.camera !== mine) return;
      try {
        const answer = await this.show(video);
        if (answer === null) continue;
        times.push(performance.now());
        if (times.length > 20) times.shift();
        const rate = (times.length - 1) / ((times.at(-1) - times[0]) / 1000 || 1);
        byId("own-text").textContent =
          `${rate.toFixed(0)} pictures a second, each judged in ${milliseconds(answer.ms)}\u00a0ms.`;
        byId("own-error").textContent = "";
      } catch (error) {
        if (this.camera !== mine) return;
        byId("own-error").textContent = error.message;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  stop() {
    if (this.camera === null) return;
    for (const track of this.camera.tracks) track.stop();
    this.camera = null;
    this.turn += 1;
    byId("camera").textContent = "Use this browser's camera";
    byId("own-text").textContent = "";
  }

  // It was pulled out, or taken back: its last picture would be judged for ever.
  lose(mine) {
    if (this.camera !== mine) return;
    this.stop();
    byId("own-error").textContent = "The camera went away. Look at its cable, and use it again.";
  }

  // The answer, shown; null where a newer picture made it void.
  async show(source, file) {
    const mine = ++this.turn;
    const answer = await this.judge(source, file);
    if (mine !== this.turn) {
      answer.bitmap.close();
      return null;
    }
    this.view.show(answer.bitmap, answer.faces, answer.size);
    return answer;
  }
}

// Calls take(file) for a picture that is dropped on the page or pasted.
export function takeDropped(take) {
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
      if (file) take(file);
    });
}

// The picture on a canvas, as large as it is judged.
export function drawn(source, file) {
  const [width, height] = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  const scale = Math.min(1, (file ? LONGEST : CAMERA) / Math.max(width, height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
  });
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas;
}

// What Given's judge() gives, by the engine of a static folder in this browser: ../../web/engine.js.
export async function judgedHere(engine, source, file, least) {
  const canvas = drawn(source, file);
  const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const begun = performance.now();
  const faces = await engine.judge(image, { thorough: Boolean(file), least });
  const ms = performance.now() - begun;
  return { bitmap: await createImageBitmap(canvas), faces, size: [canvas.width, canvas.height], ms };
}
