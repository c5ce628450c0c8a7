// Where the faces are, by BlazeFace as lc2fer/finders/blazeface.py has it, and the square of each that a network judges.
import { cut, resample } from "./pixels.js";

const SIDE = 192; // pixels of the picture's longer side: what the network was trained on
const LARGER = [384, 768]; // photographs are searched at these sizes too, for the faces of groups
const [STRIDE, MULTIPLE] = [4, 32];
const [SCORE, SURER] = [0.5, 0.6];
const [NEAR, SMALLEST, OVERLAP] = [0.4, 20, 0.3];
const [MARGIN, RAISED] = [1.1, 0.035]; // of the square that networks were trained on, around the box
const [EYES_Y, EYE_DISTANCE, EYES_TO_MOUTH] = [0.39, 0.37, 0.38];

// run(pixels, height, width) gives the network's { boxes, scores } of float32 [1, 3, height, width].
export async function findFaces(run, image, thorough) {
  const shorter = Math.min(image.width, image.height);
  let found = suppress(await search(run, image, SIDE, 0));
  if (thorough) {
    for (const side of LARGER.filter((each) => each <= Math.max(image.width, image.height))) {
      const more = suppress(await search(run, image, side, 0));
      const old = found;
      found = [...old, ...more.filter((one) => one.score > SURER && !old.some((other) => inside(one.row, other.row)))];
    }
    if (found.length === 0) {
      const near = suppress(await search(run, image, SIDE / 2, SIDE / 4));
      found = near.filter(({ row }) => row[2] - row[0] > NEAR * shorter);
    }
  }
  return found
    .map(face)
    .filter(({ width }) => width >= SMALLEST)
    .sort((one, other) => other.width * other.height - one.width * one.height);
}

async function search(run, image, side, border) {
  const scale = Math.max(image.width, image.height) / side;
  const [across, down] = [image.width, image.height].map((size) => Math.max(1, Math.round(size / scale)));
  const small = resample(image, 4, { left: 0, top: 0, width: image.width, height: image.height }, across, down);
  const [width, height] = [across, down].map((size) => Math.ceil((size + 2 * border) / MULTIPLE) * MULTIPLE);
  const pixels = new Float32Array(3 * width * height).fill(-1); // black where the picture does not reach
  for (let y = 0; y < down; y++)
    for (let x = 0; x < across; x++)
      for (let c = 0; c < 3; c++)
        pixels[(c * height + y + border) * width + x + border] = small.data[(y * across + x) * 3 + c] * (2 / 255) - 1;
  const { boxes, scores } = await run(pixels, height, width);
  const found = [];
  const least = Math.log(SCORE / (1 - SCORE));
  scores.forEach((logit, place) => {
    if (!(logit > least)) return;
    const raw = boxes.subarray(place * 16, place * 16 + 16);
    const columns = width / STRIDE;
    const anchor = [((place % columns) + 0.5) * STRIDE, (Math.floor(place / columns) + 0.5) * STRIDE];
    const [x, y] = [raw[0] + anchor[0], raw[1] + anchor[1]];
    if (!(raw[2] > 0 && raw[3] > 0)) return;
    const box = [x - raw[2] / 2, y - raw[3] / 2, x + raw[2] / 2, y + raw[3] / 2];
    const points = Array.from(raw.subarray(4), (value, at) => value + anchor[at % 2]);
    const row = [...box, ...points].map((value) => (value - border) * scale);
    found.push({ row, score: 1 / (1 + Math.exp(-Math.max(-80, Math.min(80, logit)))) });
  });
  return found;
}

const area = (row) => (row[2] - row[0]) * (row[3] - row[1]);

function shared(one, other) {
  const across = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(across, 0) * Math.max(down, 0);
}

const inside = (one, other) => shared(one, other) > 0.5 * Math.min(area(one), area(other));

// One row for each group of boxes that overlap: their mean, weighted with the scores; its score is the best's.
function suppress(found) {
  let left = [...found].sort((one, other) => other.score - one.score);
  const kept = [];
  while (left.length > 0) {
    const [best] = left;
    const near = (one) => {
      const both = shared(one.row, best.row);
      return one === best || both / Math.max(area(one.row) + area(best.row) - both, 1e-9) > OVERLAP;
    };
    const group = left.filter(near);
    const weight = group.reduce((sum, one) => sum + one.score, 0);
    const row = best.row.map((_, at) => group.reduce((sum, one) => sum + one.row[at] * one.score, 0) / weight);
    kept.push({ row, score: best.score });
    left = left.filter((one) => !near(one));
  }
  return kept;
}

function face({ row, score }) {
  const point = (place) => [row[4 + 2 * place], row[5 + 2 * place]];
  return {
    left: row[0],
    top: row[1],
    width: row[2] - row[0],
    height: row[3] - row[1],
    score,
    eyes: [point(0), point(1)],
    mouth: point(3),
  };
}

// The face of a picture as size x size pixels; `alignment` is "none", "level" or "eyes".
export function squareOf(image, its, size, alignment) {
  const [[leftX, leftY], [rightX, rightY]] = its.eyes;
  const degrees = (Math.atan2(rightY - leftY, rightX - leftX) * 180) / Math.PI;
  if (alignment === "eyes") {
    const eyes = [(leftX + rightX) / 2, (leftY + rightY) / 2];
    const apart = Math.hypot(rightX - leftX, rightY - leftY);
    const toMouth = Math.hypot(eyes[0] - its.mouth[0], eyes[1] - its.mouth[1]);
    const side = Math.max(apart / EYE_DISTANCE, toMouth / EYES_TO_MOUTH);
    const [roll, down] = [(degrees * Math.PI) / 180, (0.5 - EYES_Y) * side];
    return cut(image, [eyes[0] - Math.sin(roll) * down, eyes[1] + Math.cos(roll) * down], side, degrees, size);
  }
  const longer = Math.max(its.width, its.height);
  const middle = [its.left + its.width / 2, its.top + its.height / 2 - RAISED * longer];
  return cut(image, middle, MARGIN * longer, alignment === "none" ? 0 : degrees, size);
}
