// What the pages have in common: making elements, the two languages, light and dark, numbers and symbols as the
// engine's own notation has them.
"use strict";

const tools = (() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  let lang = page.lang;
  const T = (key, values = {}) =>
    page.texts[key][lang].replace(/\{(\w+)\}/g, (_, name) => (name in values ? values[name] : `{${name}}`));
  const MATH = "http://www.w3.org/1998/Math/MathML", SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((c) => c !== null && c !== undefined));
    return element;
  }

  function draw(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // MathML written by the engine's own notation
  function mathematics(written) {
    const holder = make("span", { class: "math" });
    holder.innerHTML = `<math xmlns="${MATH}">${written}</math>`;
    for (const word of holder.querySelectorAll("[data-word]")) word.textContent = T(word.dataset.word) + "\u00a0";
    return holder;
  }

  function format(x, digits = 4) {
    if (typeof x === "string") return x;
    if (x === undefined || x === null) return "–";
    if (Number.isNaN(x)) return "NaN";
    if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
    if (x === 0) return "0";
    let text;
    const size = Math.abs(Number(x.toPrecision(digits)));
    if (size < 1e-3 || size >= 10 ** digits) {
      const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
      text = `${mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa}e${Number(exponent)}`;
    } else text = String(Number(x.toPrecision(digits)));
    return text.replaceAll("-", "−");
  }

  // The name of a quantity, of one of its elements, or the derivative of the loss by it
  const symbolMath = (q, gradient, place = []) => {
    const [whole, element] = q.math[gradient ? "gradient" : "value"];
    return place.length ? element.replaceAll("<mi>…</mi>", place.map((p) => `<mn>${p}</mn>`).join("<mo>,</mo>")) : whole;
  };
  function placeText(at, shape) {
    const place = [];
    for (let i = shape.length - 1; i >= 0; i--) { place.unshift(at % shape[i]); at = Math.floor(at / shape[i]); }
    return place;
  }
  const number = (x) => (typeof x === "string" ? { NaN: NaN, "∞": Infinity, "−∞": -Infinity }[x] : x);

  // A large array comes as the text of its bytes; of a very large one there is the chosen element and a picture
  function unpacked(given) {
    if (!given || Array.isArray(given)) return given;
    const bytes = Uint8Array.from(atob(given.tiles ?? given.f4 ?? given.f8 ?? ""), (c) => c.charCodeAt(0));
    if (given.size) {
      const picture = given.tiles && Array.from(bytes, (level) => (level ? ((level - 128) / 127) * given.scale : NaN));
      return { length: given.size, range: given.range, picture, ...given.at };
    }
    return Array.from(given.f4 ? new Float32Array(bytes.buffer) : new Float64Array(bytes.buffer));
  }

  // A number as it stands in a field, and back; null where it is none
  const typed = (x) => format(number(x), 6).replaceAll("−", "-");
  const read = (text) => (text.trim() && Number.isFinite(Number(text.replaceAll("−", "-"))) ? Number(text.replaceAll("−", "-")) : null);

  function rateField(label, rate, changed) {
    const input = make("input", { type: "text", inputmode: "decimal", value: typed(rate), class: "rate",
      onchange: () => { const value = read(input.value); if (value !== null) changed(value); } });
    return make("label", {}, `${label} = `, input);
  }

  // A table of texts; left: how many columns are no numbers
  function grid(head, rows, { caption, left = 0 } = {}) {
    const cell = (text, k) => make("td", { class: k < left ? "left" : null }, String(text));
    return make("table", { class: "grid" }, caption ? make("caption", { class: "quiet" }, caption) : null,
      make("thead", {}, make("tr", {}, ...head.map((text, k) => make(text ? "th" : "td", { scope: text ? "col" : null, class: k < left ? "left" : null }, text)))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell)))));
  }

  const equation = (label, ...content) => make("div", { class: "equation", tabindex: 0 }, make("span", { class: "label" }, label), ...content);

  // Documented equations by their numbers: as documented, exact, and what the document leaves out; or, with what is said
  // of them here, as they are here, and where that is another
  function documents(numbers, here = {}) {
    const holder = make("div", { class: "documents" });
    for (const d of numbers) {
      const entry = page.documented[d], own = here[d], exact = own?.here ?? entry.exact, missing = said((own ?? entry).missing);
      holder.append(equation(`${d} · ${T("documented")}`, mathematics(entry.documented)));
      holder.lastElementChild.classList.toggle("alone", entry.documented === exact);
      if (entry.documented !== exact) holder.append(equation(`${d} · ${T(own ? "exact_here" : "exact")}`, mathematics(exact)));
      if (missing) holder.append(make("p", { class: "quiet" }, `${T("missing")}${T("colon")}${missing}`));
      for (const [other, written] of own?.differs ?? []) holder.append(equation(`${d} · ${T("differs", { here: other })}`, mathematics(written)));
    }
    return holder;
  }

  // The buttons above, and `render` when the language is another
  function frame(render) {
    const label = (id, text) => { document.getElementById(id).textContent = text; };
    const all = () => {
      root.lang = lang === "zh" ? "zh-Hans" : "en";
      document.title = page.heading[lang];
      document.querySelector("h1").textContent = page.heading[lang];
      label("language", lang === "zh" ? "English" : "中文");
      for (const id of ["theme", "print", "skip"]) label(id, T(id));
      render();
    };
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const theme = (name) => { root.dataset.theme = name; };
    theme(dark.matches ? "dark" : "light");
    dark.addEventListener("change", () => theme(dark.matches ? "dark" : "light"));
    document.getElementById("theme").addEventListener("click", () => theme(root.dataset.theme === "dark" ? "light" : "dark"));
    document.getElementById("language").addEventListener("click", () => { lang = lang === "en" ? "zh" : "en"; all(); });
    document.getElementById("print").addEventListener("click", () => print());
    all();
  }

  const said = (texts) => texts[lang];
  return { page, T, said, make, draw, mathematics, format, symbolMath, placeText, number, unpacked, typed, read, rateField, grid, equation, documents, frame };
})();

const { page, T, said, make, draw, mathematics, format, symbolMath, placeText, number, unpacked, typed, read, rateField, grid, equation, documents } = tools;
