// A net in typed arrays: the program that Python wrote, over the memory that it described.
"use strict";

// An array as Python wrote it: deflated, the first bytes of all elements before all second ones
async function chalkArray(type, text) {
  const given = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), Type = globalThis[type], size = Type.BYTES_PER_ELEMENT;
  const stream = new Blob([given]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer()), bytes = new Uint8Array(planes.length), length = planes.length / size;
  for (let k = 0; k < size; k++) for (let i = 0; i < length; i++) bytes[i * size + k] = planes[k * length + i];
  return new Type(bytes.buffer);
}

async function chalkNet(program, described) {
  const memory = {}, first = [];
  for (const [name, [type, length, parts]] of Object.entries(described.memory)) {
    memory[name] = new globalThis[type](length);
    for (const [at, part] of parts) {
      if (part.b) { first.push([name, at, await chalkArray(type, part.b)]); continue; }
      const q = await chalkArray("Int8Array", part.q), s = await chalkArray("Float32Array", part.s); // rounded to int8, a scale a column
      first.push([name, at, Float32Array.from(q, (v, i) => v * s[i % s.length])]);
    }
  }

  function reset() {
    for (const m of Object.values(memory)) m.fill(0);
    for (const [name, at, values] of first) memory[name].set(values, at);
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

// A page's script. Where it fails, as when the file is damaged, that stands in the section of this name
async function chalkPage(id, script) {
  try { await script(); } catch (error) {
    console.error(error);
    tools.frame(() => document.getElementById(id).replaceChildren(make("p", { class: "bad", role: "alert" }, T(globalThis.DecompressionStream ? "damaged" : "old"))));
  }
}
