// A net in typed arrays: the program that Python wrote, over the memory that it described.
"use strict";

function chalkNet(program, described) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const memory = {};
  for (const [name, [type, length]] of Object.entries(described.memory)) memory[name] = new globalThis[type](length);

  function reset() {
    for (const [name, [type, , parts]] of Object.entries(described.memory)) {
      memory[name].fill(0);
      for (const [at, part] of parts) {
        if (part.b) { memory[name].set(new globalThis[type](bytes(part.b)), at); continue; }
        const q = new Int8Array(bytes(part.q)), s = new Float32Array(bytes(part.s)); // rounded to int8, a scale a column
        for (let i = 0; i < q.length; i++) memory[name][at + i] = q[i] * s[i % s.length];
      }
    }
  }

  // The places of an array's elements in its memory, in row-major order
  function places([, offset, shape, strides]) {
    let found = [offset];
    shape.forEach((n, k) => { found = found.flatMap((at) => Array.from({ length: n }, (_, i) => at + i * strides[k])); });
    return Int32Array.from(found);
  }
  const known = new Map();
  const placesOf = (place) => known.get(place) ?? known.set(place, places(place)).get(place);
  const read = (place) => { const m = memory[place[0]]; return Float32Array.from(placesOf(place), (at) => m[at]); };

  reset();
  const programs = program(memory);
  function run(name, ...inputs) {
    described.inputs[name].forEach((place, k) => {
      const m = memory[place[0]];
      placesOf(place).forEach((at, i) => { m[at] = inputs[k][i]; });
    });
    programs[name]();
    return described.outputs[name].map(read);
  }
  return { run, reset, read, memory, described };
}
