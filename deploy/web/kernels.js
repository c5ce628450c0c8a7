// The network by LC2FER's own kernels, compiled to WebAssembly (native/browser.cpp): the same bits as liblc2fer's.

export class Kernels {
  // Of a module's bytes and those of an .lc2 file; null where this browser has no relaxed SIMD, or one whose
  // multiply-add rounds twice. `instructions`: none better than these.
  static async open(code, file, instructions = "") {
    const module = await WebAssembly.compile(code).catch((error) => {
      if (error instanceof WebAssembly.CompileError) return null;
      throw error;
    });
    if (module === null) return null;
    const its = new Kernels();
    its.code = (await WebAssembly.instantiate(module)).exports;
    its.code._initialize();
    its.able = its.text(its.code.able()).split(" ").filter(Boolean); // the best first
    if (its.able.length === 0) return null;
    its.write(its.code.cpu(), new TextEncoder().encode(instructions.slice(0, 15)));
    const model = its.take(file.byteLength);
    its.write(model, new Uint8Array(file));
    if (!its.code.open(model, file.byteLength)) throw new Error(its.text(its.code.failure()));
    its.classes = its.code.classes();
    its.pixels = its.take(its.code.size() ** 2 * 3);
    its.answer = its.take(its.classes * 4);
    its.instructions = its.text(its.code.instructions());
    its.name = `LC2FER (${its.instructions})`;
    return its;
  }

  // Logits float32 [classes] of bytes [size][size][3] in RGB.
  logits(bytes) {
    this.write(this.pixels, bytes);
    this.code.run(this.pixels, this.answer);
    return new Float32Array(this.code.memory.buffer, this.answer, this.classes).slice();
  }

  take(count) {
    const place = this.code.take(count);
    if (place === 0) throw new Error("There is no memory left for the model. Close other pages");
    return place;
  }

  write(place, bytes) {
    new Uint8Array(this.code.memory.buffer).set(bytes, place); // memory that grew has another buffer than before
  }

  text(place) {
    const from = new Uint8Array(this.code.memory.buffer, place);
    return new TextDecoder().decode(from.subarray(0, from.indexOf(0)));
  }
}
