// Pictures as bytes: what lc2fer/inputs.py, lc2fer/alignment.py and lc2fer/finders/boxes.py do with them, the same here.
// A picture is { width, height, data }, with four bytes a pixel, as a canvas gives it; what is cut out has three.

// For each of `size` places along a line, where its pixels begin and their weights: a triangle as wide as a step, or as a
// pixel if that is more. `begin` and `length` say which part of the line is meant, in pixels of it.
function triangles(begin, length, count, size) {
  const scale = length / size;
  const reach = Math.max(scale, 1);
  return Array.from({ length: size }, (_, place) => {
    const middle = begin + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(middle - reach + 0.5));
    const end = Math.min(count, Math.trunc(middle + reach + 0.5));
    const weights = [];
    for (let at = first; at < end; at++) weights.push(Math.max(0, 1 - Math.abs((at - middle + 0.5) / reach)));
    const sum = weights.reduce((total, one) => total + one, 0);
    return { first, weights: weights.map((one) => one / sum) };
  });
}

const byte = (value) => Math.max(0, Math.min(255, Math.floor(value + 0.5)));

// The part { left, top, width, height } of an image of `colours` bytes a pixel as across x down, three bytes a pixel.
export function resample(image, colours, part, across, down) {
  const columns = triangles(part.left, part.width, image.width, across);
  const rows = triangles(part.top, part.height, image.height, down);
  const first = rows[0].first;
  const lines = rows.at(-1).first + rows.at(-1).weights.length - first;
  const narrow = new Uint8Array(lines * across * 3);
  for (let y = 0; y < lines; y++) {
    const row = (y + first) * image.width;
    for (let x = 0; x < across; x++) {
      const { first: begin, weights } = columns[x];
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * image.data[(row + begin + i) * colours + c];
        narrow[(y * across + x) * 3 + c] = byte(sum);
      }
    }
  }
  const made = new Uint8Array(across * down * 3);
  for (let y = 0; y < down; y++) {
    const { first: begin, weights } = rows[y];
    for (let at = 0; at < across * 3; at++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * narrow[(begin - first + i) * across * 3 + at];
      made[y * across * 3 + at] = byte(sum);
    }
  }
  return { width: across, height: down, data: made };
}

// The square [width, width] at that place, three bytes a pixel; beyond the picture's edge its last pixels are repeated.
function region(image, left, top, width) {
  const data = new Uint8Array(width * width * 3);
  for (let y = 0; y < width; y++) {
    const row = Math.min(Math.max(top + y, 0), image.height - 1) * image.width;
    for (let x = 0; x < width; x++) {
      const from = (row + Math.min(Math.max(left + x, 0), image.width - 1)) * 4;
      for (let c = 0; c < 3; c++) data[(y * width + x) * 3 + c] = image.data[from + c];
    }
  }
  return { width, height: width, data };
}

// A square of `side` pixels around `middle`, turned by `degrees` clockwise, as size x size.
export function cut(image, [x, y], wanted, degrees, size) {
  const side = Math.max(wanted, 1);
  const turn = (degrees * Math.PI) / 180;
  const reach = (side / 2) * (Math.abs(Math.cos(turn)) + Math.abs(Math.sin(turn))) + 2;
  const [left, top] = [Math.floor(x - reach), Math.floor(y - reach)];
  const width = Math.ceil(2 * reach) + 1;
  const around = region(image, left, top, width);
  if (!degrees) {
    const part = { left: x - side / 2 - left, top: y - side / 2 - top, width: side, height: side };
    return resample(around, 3, part, size, size);
  }
  const small = Math.max(1, Math.ceil(width * Math.min(1, size / side)));
  const shrunk = resample(around, 3, { left: 0, top: 0, width, height: width }, small, small);
  const step = ((side / size) * small) / width;
  const [across, along] = [step * Math.cos(turn), step * Math.sin(turn)];
  const ratio = small / width;
  const [atX, atY] = [(x - left) * ratio, (y - top) * ratio];
  const data = new Uint8Array(size * size * 3);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) {
      const [u, v] = [column + 0.5 - size / 2, row + 0.5 - size / 2];
      const fromX = atX + across * u - along * v - 0.5;
      const fromY = atY + along * u + across * v - 0.5;
      const [x0, y0] = [Math.floor(fromX), Math.floor(fromY)];
      const pixel = (px, py, c) =>
        shrunk.data[(Math.min(Math.max(py, 0), small - 1) * small + Math.min(Math.max(px, 0), small - 1)) * 3 + c];
      for (let c = 0; c < 3; c++) {
        const upper = pixel(x0, y0, c) + (pixel(x0 + 1, y0, c) - pixel(x0, y0, c)) * (fromX - x0);
        const lower = pixel(x0, y0 + 1, c) + (pixel(x0 + 1, y0 + 1, c) - pixel(x0, y0 + 1, c)) * (fromX - x0);
        data[(row * size + column) * 3 + c] = byte(upper + (lower - upper) * (fromY - y0));
      }
    }
  return { width: size, height: size, data };
}
