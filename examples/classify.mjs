// The expression of one face, in Node.js: node examples/classify.mjs MODEL.onnx FACE.ppm
//
// npm install onnxruntime-web. MODEL is an ONNX file of lc2fer export (onnx-fp32, onnx-int8, ort-int8), its manifest
// beside it. FACE is a square picture of one face, of the model's size, as PPM:
//   lc2fer faces photo.jpg --out faces && convert faces/photo.png face.ppm
import { readFile } from "node:fs/promises";
import * as ort from "onnxruntime-web";

const [model, picture] = process.argv.slice(2);
const { size, labels } = JSON.parse(await readFile(model.replace(/\.onnx$/, ".json"), "utf8")).input_spec;
const pixels = await face(picture, size);

ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(await readFile(model));
const input = new ort.Tensor("float32", pixels, [1, 3, size, size]);
const { [session.outputNames[0]]: logits } = await session.run({ [session.inputNames[0]]: input });
const most = Math.max(...logits.data);
const powers = Array.from(logits.data, (logit) => Math.exp(logit - most)); // softmax
const sum = powers.reduce((left, right) => left + right);
const best = powers.indexOf(Math.max(...powers));
const confidence = powers[best] / sum;
console.log(`${confidence < 0.5 ? "unsure" : labels[best]}, ${Math.round(100 * confidence)}%`);

// Raw RGB as the model takes it: float32 0..255, [3][size][size]. Normalisation is in the model.
async function face(path, size) {
  const bytes = await readFile(path);
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(bytes.toString("latin1", 0, 64));
  if (!header || Number(header[1]) !== size || Number(header[2]) !== size) {
    throw new Error(`${path} is no PPM of ${size}x${size} pixels. Resize the face to that size.`);
  }
  const rgb = bytes.subarray(header[0].length);
  return Float32Array.from({ length: 3 * size * size }, (_, at) => rgb[3 * (at % (size * size)) + Math.floor(at / (size * size))]);
}
