import { colour, sized } from "./drawing.js";
import { shared } from "./state.js";

const SHOWN_S = 60; // of the timeline
export const STALE_MS = 2000;

// A lane for each expression, so that nothing is told by colour alone.
export class Timeline {
  constructor(canvas) {
    this.canvas = canvas;
    this.runs = []; // {from, to, lane}, times in ms; the lane after the last label is "unsure"
    this.lane = null;
  }

  add(face, now) {
    const found = face ? shared.labels.indexOf(face.expression) : null;
    const lane = found === -1 ? shared.labels.length : found;
    const last = this.runs.at(-1);
    const goesOn = last && this.lane !== null && now - last.to < STALE_MS;
    if (goesOn) last.to = now;
    if (lane !== null && !(goesOn && last.lane === lane)) this.runs.push({ from: now, to: now, lane });
    this.lane = lane;
    while (this.runs.length && this.runs[0].to < now - SHOWN_S * 1000) this.runs.shift();
  }

  draw() {
    const width =
      this.canvas.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(this.canvas.parentElement).paddingLeft);
    if (width <= 0 || shared.labels.length === 0) return;
    const [names, row] = [[...shared.labels, "unsure"], 20];
    const height = names.length * row + 20;
    this.canvas.style.height = `${height}px`;
    const pen = sized(this.canvas, width, height);
    const style = getComputedStyle(document.documentElement);
    const [ink, quiet, band, line] = ["--ink", "--quiet", "--band", "--line"].map((name) =>
      style.getPropertyValue(name),
    );
    pen.font = "600 13px system-ui, sans-serif";
    const left = Math.min(0.45 * width, Math.max(...names.map((name) => pen.measureText(name).width)) + 30);
    const now = performance.now();
    const across = (time) => left + (width - left) * (1 - (now - time) / (SHOWN_S * 1000));
    pen.textBaseline = "middle";
    names.forEach((name, lane) => {
      const middle = lane * row + row / 2;
      this.block(pen, 2, middle - 6, 12, 12, lane, quiet);
      pen.fillStyle = lane === this.lane ? ink : quiet;
      pen.font = `${lane === this.lane ? 600 : 400} 13px system-ui, sans-serif`;
      pen.fillText(name, 21, middle + 0.5, left - 28);
      pen.fillStyle = band;
      pen.fillRect(left, middle - 7, width - left, 14);
    });
    pen.font = "12px system-ui, sans-serif";
    for (let ago = SHOWN_S; ago >= 0; ago -= width - left < 260 ? 30 : 15) {
      const x = across(now - ago * 1000);
      pen.fillStyle = line;
      pen.fillRect(Math.min(x, width - 1), 0, 1, names.length * row);
      pen.fillStyle = quiet;
      pen.textAlign = ago === SHOWN_S ? "left" : ago === 0 ? "right" : "center";
      pen.fillText(ago === 0 ? "now" : `−${ago} s`, x, height - 8);
    }
    pen.textAlign = "left";
    for (const { from, to, lane } of this.runs) {
      const start = Math.max(left, across(from));
      const end = Math.max(start + 2, across(to));
      this.block(pen, start, lane * row + 3, end - start, row - 6, lane, quiet);
    }
  }

  block(pen, x, y, width, height, lane, quiet) {
    pen.beginPath();
    pen.roundRect(x, y, width, height, 3);
    if (lane < shared.labels.length) {
      pen.fillStyle = colour(lane);
      pen.fill();
    } else {
      pen.strokeStyle = quiet;
      pen.lineWidth = 1.5;
      pen.setLineDash([3, 2]);
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  words() {
    const since = performance.now() - SHOWN_S * 1000;
    const seconds = new Map();
    for (const { from, to, lane } of this.runs) {
      seconds.set(lane, (seconds.get(lane) ?? 0) + Math.max(0, to - Math.max(from, since)) / 1000);
    }
    const parts = [...seconds]
      .sort((first, second) => second[1] - first[1])
      .map(([lane, length]) => `${shared.labels[lane] ?? "unsure"} ${Math.round(length)} s`);
    return parts.length ? `In the last 60 seconds: ${parts.join(", ")}.` : "No face in the last 60 seconds.";
  }
}
