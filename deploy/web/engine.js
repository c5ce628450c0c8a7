// The networks in this browser: ONNX Runtime's WebAssembly on one thread, with what lies in this folder and nothing else.
import { findFaces, squareOf } from "./faces.js";
import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.logLevel = "error";

export class Engine {
  static async open() {
    const its = new Engine();
    its.spec = (await (await fetch("model.json")).json()).input_spec;
    [its.model, its.finder] = await Promise.all(
      ["model.onnx", "face_finder.onnx"].map((name) => ort.InferenceSession.create(name, { graphOptimizationLevel: "all" })),
    );
    return its;
  }

  // Logits of a face, bytes [size][size][3] in RGB.
  async logits(bytes) {
    const { size } = this.spec;
    const pixels = new Float32Array(3 * size * size);
    for (let place = 0; place < size * size; place++)
      for (let c = 0; c < 3; c++) pixels[c * size * size + place] = bytes[place * 3 + c];
    const given = { [this.model.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, size, size]) };
    return (await this.model.run(given))[this.model.outputNames[0]].data;
  }

  // The faces of a picture, the largest first, as the page shows them; thorough: small ones of groups, too.
  async judge(image, { thorough, least }) {
    const run = async (pixels, height, width) => {
      const given = { [this.finder.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, height, width]) };
      const { boxes, scores } = await this.finder.run(given);
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

function softmax(logits) {
  const most = Math.max(...logits);
  const powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((total, one) => total + one, 0);
  return powers.map((one) => one / sum);
}
