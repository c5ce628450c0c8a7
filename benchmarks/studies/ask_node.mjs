// Asks a package of npm for the expression of each face: `node ask_node.mjs JOB`, the same job and answer as ask_python.py.
// tfjs-node fetches a library while it is installed; WebAssembly is the packages' other documented way in Node.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const WARM_UP = 20;
const job = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const require = createRequire(join(job.environment, 'package.json'));
const modules = join(job.environment, 'node_modules');

async function started(tf) {
  const wasm = require('@tensorflow/tfjs-backend-wasm');
  wasm.setWasmPaths(join(modules, '@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
}

function best(scores) {
  return Object.entries(scores).reduce((most, each) => (each[1] > most[1] ? each : most))[0];
}

const ADAPTERS = {
  // faceapi.nets.faceExpressionNet.predictExpressions(face)
  'face-api': async () => {
    const tf = require('@tensorflow/tfjs');
    await started(tf);
    const faceapi = require('@vladmandic/face-api/dist/face-api.node-wasm.js');
    const net = faceapi.nets.faceExpressionNet;
    await net.loadFromDisk(join(modules, '@vladmandic/face-api/model'));
    return async (pixels, size) => {
      const face = tf.tensor3d(pixels, [size, size, 3], 'int32');
      const found = await net.predictExpressions(face);
      face.dispose();
      return best({ ...found });
    };
  },
  // models/emotion.json, with what its own src/gear/emotion.ts does before and after: detect() has no way past its finder
  human: async () => {
    const tf = require('@tensorflow/tfjs');
    await started(tf);
    const names = ['angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral'];
    const path = join(modules, '@vladmandic/human/models');
    const bytes = readFileSync(join(path, 'emotion.bin'));
    const { modelTopology, weightsManifest } = JSON.parse(readFileSync(join(path, 'emotion.json'), 'utf8'));
    const weights = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const specs = weightsManifest.flatMap((each) => each.weights);
    const model = await tf.loadGraphModel(tf.io.fromMemory({ modelTopology, weightSpecs: specs, weightData: weights }));
    return async (pixels, size) => {
      const scores = tf.tidy(() => {
        const face = tf.tensor4d(pixels, [1, size, size, 3], 'int32').toFloat().div(255);
        const small = tf.image.resizeBilinear(face, [64, 64], false);
        const grey = small.mul([0.2989, 0.587, 0.114]).sum(3, true);
        return model.execute(grey.sub(0.5).mul(2));
      });
      const found = await scores.data();
      scores.dispose();
      return best(Object.fromEntries(names.map((name, place) => [name, found[place]])));
    };
  },
};

const whole = new Uint8Array(readFileSync(job.pixels));
const length = job.size * job.size * 3;
let places = Array.from({ length: job.count }, (_, place) => place);
if (job.timed) places = places.filter((place) => place % Math.max(1, Math.floor(job.count / job.timed)) === 0).slice(0, job.timed);
const ask = await ADAPTERS[job.package]();
const face = (place) => whole.subarray(place * length, (place + 1) * length);
for (const place of places.slice(0, WARM_UP)) await ask(face(place), job.size).catch(() => null); // told below
const [answers, errors, ms] = [[], {}, []];
for (const place of places) {
  const start = performance.now();
  let answer = null;
  try {
    answer = await ask(face(place), job.size);
  } catch (error) {
    errors[String(error).slice(0, 200)] = (errors[String(error).slice(0, 200)] ?? 0) + 1;
  }
  ms.push(Math.round(1e4 * (performance.now() - start)) / 1e4);
  answers.push(answer);
}
console.log(`\n${JSON.stringify({ answers, errors, ms })}`);
