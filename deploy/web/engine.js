// The networks in this browser, with what lies in this folder and nothing else: faces are found by ONNX Runtime's
// WebAssembly on one thread, and judged by LC2FER's own kernels where they are here and the browser can run them.
import { findFaces, squareOf } from "./faces.js";
import { Kernels } from "./kernels.js";
import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.logLevel = "error";

const KERNELS = ["kernels.wasm", "model.lc2"];

export class Engine {
  // kernels: false takes ONNX Runtime for everything; get(address) fetches models, and may say who asks.
  static async open({ kernels = true, get = fetch } = {}) {
    const got = async (name, form) => {
      const answer = await get(new URL(name, import.meta.url).href);
      if (!answer.ok) throw new Error(`${name} did not come (${answer.status})`);
      return answer[form]();
    };
    const session = async (name) =>
      ort.InferenceSession.create(await got(name, "arrayBuffer"), { graphOptimizationLevel: "all" });
    const own = async () => Kernels.open(...(await Promise.all(KERNELS.map((name) => got(name, "arrayBuffer")))));
    const its = new Engine();
    const [manifest, parts] = await Promise.all(["model.json", "parts.json"].map((name) => got(name, "json")));
    its.spec = manifest.input_spec;
    const network = kernels && parts.kernels ? own() : null;
    [its.network, its.finder] = await Promise.all([network, session("face_finder.onnx")]);
    its.network ??= new Runtime(await session("model.onnx"), its.spec.size);
    its.name = its.network.name; // of what judges
    return its;
  }

  // Logits of a face, bytes [size][size][3] in RGB.
  async logits(bytes) {
    return this.network.logits(bytes);
  }

  // The faces of a picture, the largest first, as the page shows them; thorough: small ones of groups, too.
  async judge(image, { thorough, least }) {
    const run = async (pixels, height, width) => {
      const { boxes, scores } = await answers(this.finder, pixels, height, width);
      return { boxes: boxes.data, scores: scores.data };
    };
    const judged = [];
    for (const face of await findFaces(run, image, thorough)) {
      const square = squareOf(image, face, this.spec.size, this.spec.alignment ?? "none");
      const probabilities = softmax(await this.logits(square.data));
      const best = probabilities.indexOf(Math.max(...probabilities));
      judged.push({
        track: judged.length + 1,
        box: [face.left, face.top, face.width, face.height],
        probabilities,
        expression: probabilities[best] >= least ? this.spec.labels[best] : null,
      });
    }
    return judged;
  }
}

class Runtime {
  name = "ONNX Runtime";

  constructor(model, size) {
    Object.assign(this, { model, size });
  }

  async logits(bytes) {
    const places = this.size ** 2;
    const pixels = new Float32Array(3 * places);
    for (let place = 0; place < places; place++)
      for (let c = 0; c < 3; c++) pixels[c * places + place] = bytes[place * 3 + c];
    return (await answers(this.model, pixels, this.size, this.size))[this.model.outputNames[0]].data;
  }
}

const answers = (model, pixels, height, width) =>
  model.run({ [model.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, height, width]) });

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((total, one) => total + one, 0);
  return powers.map((one) => one / sum);
}
