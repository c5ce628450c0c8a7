import { bright, colour, sized } from "./drawing.js";
import { shared } from "./state.js";
import { percent } from "./words.js";

const PARTS = new DOMParser().parseFromString(
  `
  <div class="card picture">
    <div class="stage">
      <canvas role="img" aria-label="No picture yet."></canvas>
      <p class="veil"></p>
    </div>
    <div class="chooser" role="group" aria-label="Face whose probabilities are shown" hidden></div>
  </div>
  <section class="card answer">
    <h2 class="who">Largest face</h2>
    <p class="word"><span class="swatch"></span><span class="name">–</span><span class="share"></span></p>
    <p class="sure quiet"></p>
    <ol class="bars"></ol>
    <p class="hint quiet" hidden><span class="tick"></span><span></span></p>
  </section>
`,
  "text/html",
).body;

// A picture, its faces and the probabilities of one of them.
export class View {
  constructor(host, mirrored) {
    host.append(...document.importNode(PARTS, true).children);
    const find = (selector) => host.querySelector(selector);
    this.host = host;
    this.stage = find(".stage");
    this.canvas = find("canvas");
    this.veil = find(".veil");
    this.chooser = find(".chooser");
    this.who = find(".who");
    this.swatch = find(".word .swatch");
    this.name = find(".word .name");
    this.share = find(".word .share");
    this.sure = find(".sure");
    this.bars = find(".bars");
    this.hint = find(".hint");
    this.mirrored = mirrored;
    this.bitmap = null;
    this.faces = [];
    this.size = [4, 3];
    this.chosen = null; // a track
    this.buttons = new Map();
    this.writing = 0;
    this.wrote = 0;
    this.canvas.addEventListener("click", (event) => this.choose(this.faceAt(event)?.track ?? null));
    new ResizeObserver(() => this.draw()).observe(this.stage);
  }

  label() {
    this.bars.replaceChildren(
      ...shared.labels.map((label, place) => {
        const row = document.createElement("li");
        row.append(span("label"), span("track"), span("percent"));
        row.querySelector(".track").append(span("fill"));
        row.firstChild.textContent = row.firstChild.dataset.label = label; // its bold form takes the room from the start
        row.querySelector(".fill").style.background = colour(place);
        if (shared.threshold !== null) {
          const tick = span("tick");
          tick.style.left = `${shared.threshold * 100}%`;
          row.querySelector(".track").append(tick);
        }
        return row;
      }),
    );
    this.hint.hidden = shared.threshold === null;
    if (shared.threshold !== null)
      this.hint.lastChild.textContent = ` ${percent(shared.threshold)}, needed for an answer`;
    this.write();
  }

  show(bitmap, faces, size) {
    if (this.bitmap !== bitmap) this.bitmap?.close();
    Object.assign(this, { bitmap, faces, size });
    this.veil.textContent = "";
    this.stage.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
    this.update();
  }

  clear(text) {
    this.bitmap?.close();
    Object.assign(this, { bitmap: null, faces: [], chosen: null });
    this.veil.textContent = text;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.update();
  }

  update() {
    this.draw();
    const shares = this.face()?.probabilities ?? [];
    [...this.bars.children].forEach((row, place) => {
      row.querySelector(".fill").style.transform = `translateX(${((shares[place] ?? 0) - 1) * 100}%)`;
    });
    // Words and numbers five times a second: nobody reads them faster.
    const wait = Math.max(0, this.wrote + 200 - performance.now());
    this.writing ||= setTimeout(() => this.write(), wait);
  }

  face() {
    return this.faces.find((face) => face.track === this.chosen) ?? this.faces[0];
  }

  choose(track) {
    this.chosen = track;
    this.update();
  }

  faceAt(event) {
    const { x, y, scale } = this.place();
    const [across, down] = [(event.offsetX - x) / scale, (event.offsetY - y) / scale];
    return this.faces.find((face) => {
      const [left, top, width, height] = this.boxOf(face);
      return across >= left && across <= left + width && down >= top && down <= top + height;
    });
  }

  boxOf(face) {
    const [left, top, width, height] = face.box;
    return [this.mirrored ? this.size[0] - left - width : left, top, width, height];
  }

  // Where the picture lies in the stage, in CSS pixels; scale is CSS pixels a pixel of the judged picture.
  place() {
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight];
    const scale = Math.min(width / this.size[0], height / this.size[1]);
    return { x: (width - this.size[0] * scale) / 2, y: (height - this.size[1] * scale) / 2, scale };
  }

  draw() {
    if (!this.bitmap || !this.stage.clientWidth) return;
    const pen = sized(this.canvas, this.stage.clientWidth, this.stage.clientHeight);
    const { x, y, scale } = this.place();
    const [width, height] = this.size.map((side) => side * scale);
    pen.save();
    if (this.mirrored) {
      pen.translate(2 * x + width, 0);
      pen.scale(-1, 1);
    }
    pen.drawImage(this.bitmap, x, y, width, height);
    pen.restore();
    const shown = this.face();
    for (const face of [...this.faces].reverse()) this.drawFace(pen, face, face === shown, { x, y, scale, width });
  }

  drawFace(pen, face, shown, { x, y, scale, width }) {
    const box = this.boxOf(face).map((side) => side * scale);
    const place = shared.labels.indexOf(face.expression);
    const tint = place < 0 ? "#ffffff" : colour(place);
    const [left, top] = [x + box[0], y + box[1]];
    const line = shown || this.faces.length === 1 ? 3 : 1.75;
    pen.lineJoin = "round";
    for (const [stroke, breadth] of [
      ["rgb(0 0 0 / 55%)", line + 2.5],
      [tint, line],
    ]) {
      pen.strokeStyle = stroke;
      pen.lineWidth = breadth;
      pen.setLineDash(place < 0 ? [7, 5] : []);
      pen.beginPath();
      pen.roundRect(left + line, top + line, Math.max(1, box[2] - 2 * line), Math.max(1, box[3] - 2 * line), 8);
      pen.stroke();
    }
    pen.setLineDash([]);
    const sure = place < 0 ? "unsure" : `${face.expression} ${percent(face.probabilities[place])}`;
    const text = this.faces.length > 1 ? `${face.track} · ${sure}` : sure;
    pen.font = `${shown ? 600 : 500} 14px system-ui, sans-serif`;
    const wide = pen.measureText(text).width + 16;
    const at = Math.max(x, Math.min(left, x + width - wide));
    const above = top - 28 >= y ? top - 27 : top + 5;
    pen.fillStyle = tint;
    pen.beginPath();
    pen.roundRect(at, above, wide, 24, 6);
    pen.fill();
    pen.fillStyle = bright(tint) ? "#000" : "#fff";
    pen.textBaseline = "middle";
    pen.fillText(text, at + 8, above + 12.5);
  }

  write() {
    clearTimeout(this.writing);
    this.writing = 0;
    this.wrote = performance.now();
    const face = this.face();
    const shares = face?.probabilities ?? [];
    const order = shares.map((share, place) => [share, place]).sort((first, second) => second[0] - first[0]);
    const named = face ? shared.labels.indexOf(face.expression) : -1;
    this.who.textContent = face && face.track === this.chosen ? `Face ${face.track}, chosen` : "Largest face";
    this.name.textContent = !face ? (this.bitmap ? "no face" : "–") : named < 0 ? "unsure" : shared.labels[named];
    this.share.textContent = named < 0 ? "" : percent(shares[named]);
    this.swatch.style.background = named < 0 ? "" : colour(named);
    const other = order.find(([, place]) => place !== named);
    this.sure.textContent = !other
      ? ""
      : `${named < 0 ? "Closest" : "Next"}: ${shared.labels[other[1]]} ${percent(other[0])}`;
    [...this.bars.children].forEach((row, place) => {
      row.classList.toggle("named", place === named);
      row.lastChild.textContent = face ? percent(shares[place]) : "–";
    });
    this.canvas.classList.toggle("choosable", this.faces.length > 1);
    this.canvas.setAttribute("aria-label", this.bitmap ? this.words() : "No picture yet.");
    this.offer();
  }

  words() {
    const each = this.faces.map((face) => face.expression ?? "unsure");
    return each.length === 0
      ? "No face in view."
      : `${each.length === 1 ? "One face" : `${each.length} faces`}: ${each.join(", ")}.`;
  }

  // One button a face and one for "whichever is largest"; kept by track, so that the focus stays.
  offer() {
    const wanted = new Map([
      [null, "Largest"],
      ...[...this.faces]
        .sort((first, second) => first.track - second.track)
        .map((face) => [face.track, `${face.track} · ${face.expression ?? "unsure"}`]),
    ]);
    this.chooser.hidden = this.faces.length < 2;
    for (const [track, button] of this.buttons) {
      if (!wanted.has(track)) {
        button.remove();
        this.buttons.delete(track);
      }
    }
    for (const [track, text] of wanted) {
      if (!this.buttons.has(track)) {
        const button = document.createElement("button");
        button.type = "button";
        button.addEventListener("click", () => this.choose(track));
        this.buttons.set(track, button);
        this.chooser.append(button);
      }
      const button = this.buttons.get(track);
      if (button.textContent !== text) button.textContent = text;
      button.setAttribute("aria-pressed", String(track === this.chosen));
    }
  }
}

function span(name) {
  const made = document.createElement("span");
  made.className = name;
  return made;
}
