// The second tab: what the codec keeps of a loop, and what becomes of rewritten tokens.
const codesState = { loop: null, chosen: [], order: [], open: false };

function codesChanged() {
  if (codesState.open) openCodes();
}

async function openCodes() {
  codesState.open = true;
  const loop = state.loop;
  find("[data-codes]").hidden = !loop;
  if (!loop) return codesStatus("Choose a loop on the Play page first.");
  if (codesState.loop === loop.key) return;
  codesState.loop = loop.key;
  find("#mf-books").max = loop.codes.codebooks;
  codesStatus(`${loop.name}: ${loop.codes.columns} columns of ${plural(loop.codes.codebooks, "token")}.`);
  resetEdit();
  const facts = await call("explain", {});
  if (!facts) return;
  drawSpectrum("original", facts.spectrum);
  drawUsage(facts.usage);
}

function codesStatus(text) { setText(find("[data-codes-status]"), text); }

function drawUsage(usage) {
  find("[data-usage]").replaceChildren(...usage.map((one, k) => make("li", {},
    make("span", {}, `Codebook ${k + 1}`),
    make("meter", { min: 0, max: one.columns, value: one.distinct, "aria-label": `Codebook ${k + 1}: ${one.distinct} different tokens` }),
    make("span", { class: "mf-hint" }, `${one.distinct} different tokens in ${one.columns} columns`))));
}

function drawSpectrum(which, spectrum) {
  const canvas = find(`[data-spectrum="${which}"]`);
  const levels = decodeBytes(spectrum.data);
  canvas.width = spectrum.columns;
  canvas.height = spectrum.rows;
  const g = canvas.getContext("2d");
  const image = g.createImageData(spectrum.columns, spectrum.rows);
  const probe = make("i", { class: "mf-new" });
  find("[data-mf]").append(probe);
  const [r, green, b] = getComputedStyle(probe).backgroundColor.match(/\d+/g).map(Number);
  probe.remove();
  for (let k = 0; k < levels.length; k++) {
    image.data.set([r, green, b, levels[k]], 4 * k);
  }
  g.putImageData(image, 0, 0);
}

async function listenTo(what, data) {
  stopSound();
  const loop = state.loop;
  if (!loop) return;
  player.unlock(loop.sample_rate, loop.n_channels);
  codesStatus("Decoding…");
  const decoded = await call(what, data);
  if (!decoded) return codesStatus("That didn't work. Try again.");
  drawSpectrum("decoded", decoded.spectrum);
  setText(find("[data-decoded]"), decoded.words);
  codesStatus(decoded.words);
  const store = new Store(loop, 0);
  const pcm = await fetchPcm(decoded.pcm_path);
  if (!pcm) return codesStatus("That didn't work. Try again.");
  store.beats.forEach((beat) => { beat.pcm = pcm.subarray(beat.start * store.channels, (beat.start + beat.frames) * store.channels); });
  player.play(store, 0);
}

function resetEdit() {
  codesState.order = state.loop.beats.map((_, k) => ({ from: k, reversed: false }));
  codesState.chosen = [];
  drawBeats();
}

function drawBeats() {
  find("[data-beats]").replaceChildren(...codesState.order.map((one, k) => {
    const place = ["first", "second"][codesState.chosen.indexOf(k)] || "";
    const words = `Beat ${k + 1}${one.from !== k ? `, tokens of beat ${one.from + 1}` : ""}${place && `, ${place}`}${one.reversed ? ", reversed" : ""}`;
    return make("button", { type: "button", class: "mf-beat", "aria-pressed": String(Boolean(place)), "aria-label": words, onclick: () => chooseBeat(k) },
      `${one.from + 1}${one.reversed ? "\u21c4" : ""} `, make("small", {}, place));
  }));
  findAll("[data-edit]").forEach((button) => {
    const needs = { copy: 2, swap: 2, reverse: 1, reset: 0 }[button.dataset.edit];
    button.disabled = codesState.chosen.length < needs;
  });
}

function chooseBeat(k) {
  const at = codesState.chosen.indexOf(k);
  if (at >= 0) codesState.chosen.splice(at, 1);
  else codesState.chosen = [...codesState.chosen, k].slice(-2);
  drawBeats();
  const again = findAll("[data-beats] button")[k];
  if (again) again.focus();
}

function edit(how) {
  const [first, second] = codesState.chosen, order = codesState.order;
  if (how === "reset") return resetEdit();
  if (how === "copy") order[second] = { ...order[first] };
  if (how === "swap") [order[first], order[second]] = [order[second], order[first]];
  if (how === "reverse") order[first] = { ...order[first], reversed: !order[first].reversed };
  drawBeats();
}

function wireCodes() {
  act("decode").addEventListener("click", () => listenTo("decode", { n_codebooks: Number(find("#mf-books").value) }));
  act("edited").addEventListener("click", () => listenTo("edit", { order: codesState.order }));
  act("hush").addEventListener("click", stop);
  act("original").addEventListener("click", () => { if (state.loop) player.play(new Store(state.loop, 0), 0); });
  findAll("[data-edit]").forEach((button) => button.addEventListener("click", () => edit(button.dataset.edit)));
}
