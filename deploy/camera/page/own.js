import { byId } from "./places.js";
import { awake, call, sleep } from "./program.js";
import { shared } from "./state.js";
import { View } from "./view.js";
import { milliseconds } from "./words.js";

const MOST_BYTES = 10_000_000;
const AS_THEY_ARE = ["image/jpeg", "image/png", "image/webp"];

export const own = new View(document.querySelector('[data-name="own"]'), false);
own.veil.textContent = "Your picture will be shown here.";
let asked = 0; // a newer picture makes answers to older ones void
let camera = null;

async function judge(blob, bitmap) {
  const turn = ++asked;
  while (shared.labels.length === 0) await sleep(100); // without them nobody could say what a face shows
  const response = await call("api/judge", { method: "POST", body: blob, headers: { "Content-Type": blob.type } });
  const answer = await response.json();
  if (turn !== asked) {
    bitmap.close();
    return null;
  }
  own.show(bitmap, answer.faces, answer.size);
  return answer;
}

export async function judgeFile(file) {
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

export function stopCamera() {
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
