// The loop: examples, files that are chosen or dropped, and what is said about them.
async function rememberLoop(key) {
  if (!state.loops.has(key)) {
    const view = await call("loop", { key });
    const pcm = view && await fetchPcm(view.pcm_path);
    if (!pcm) return null;
    state.loops.set(key, new Loop({ ...view, pcm }));
  }
  return state.loops.get(key);
}

/** Show what the server says the session is; fetches the loop's samples when they are new here. */
async function adopt(view) {
  if (!view) return;
  state.view = view;
  if (view.loop_key && (!state.loop || state.loop.key !== view.loop_key)) {
    const loop = await rememberLoop(view.loop_key);
    if (loop) showLoop(loop);
  }
  if (!view.loop_key) hideLoop();
  showTakes();
  refresh();
}

/** A change of the loop: nothing else may begin until it is there. */
async function change(what, data) {
  state.loading += 1;
  refresh();
  const view = await call(what, data);
  state.loading -= 1;
  if (view) await adopt(view);
  refresh();
  return view;
}

/** One file is opened; of several, the others wait as cards beside it. */
async function openFiles(list) {
  const files = Array.from(list || []);
  if (!files.length) return;
  const stems = stemFiles(files);
  if (stems) return openStems(stems);
  for (const file of files) if (!state.files.some((one) => one.name === file.name && one.size === file.size)) state.files.push(file);
  showFileCards();
  await openFile(files[0]);
}

const STEM_WORDS = { drums: /drums?|beats?|percussion|perc/, bass: /bass(line)?|sub/, other: /others?|rest|music|melod(y|ic)|synths?|keys|pads?|guitars?|chords|vocals?|inst(rumental)?/ };

/** Files whose names differ only in which stem they are: their files by stem, and what is left of the name; else null. */
function stemFiles(files) {
  if (files.length < 2 || files.length > STEMS.length) return null;
  const found = {}, rests = new Set();
  for (const file of files) {
    const name = file.name.replace(/\.[a-z0-9]+$/i, ""), lower = name.toLowerCase();
    const stem = STEMS.find((one) => new RegExp(`(^|[^a-z])(${STEM_WORDS[one].source})(?![a-z])`).test(lower));
    if (!stem || found[stem]) return null;
    found[stem] = file;
    rests.add(name.replace(new RegExp(`(^|[^a-z])(${STEM_WORDS[stem].source})(?![a-z])`, "i"), "").replace(/^[\s_.-]+|[\s_.-]+$/g, ""));
  }
  return rests.size === 1 ? { files: found, name: [...rests][0] || "stems" } : null;
}

/** The stems of one loop, a file each: lanes at once. Of long ones the same part is used of all. */
async function openStems({ files, name }) {
  const words = Object.values(files).map((file) => file.name).join(", ");
  await opening(`${plural(Object.keys(files).length, "stem")} (${words})`, async () => {
    const paths = {}, part = {};
    for (const stem of STEMS.filter((one) => files[one])) {
      const ready = await prepareFile(files[stem], part);
      if (!ready) return;
      paths[stem] = (await upload(ready)).path;
    }
    await openWith("load_stems", { paths, name });
  });
}

/** `grid`: tempo and first beat where they are known, as of a recording with a count-in. */
async function openFile(file, grid = {}) {
  await opening(file.name, async () => {
    const ready = await prepareFile(file);
    if (ready) await openWith("load", { path: (await upload(ready)).path, ...grid });
  });
}

/** Nothing else may begin meanwhile; whatever goes wrong is told with `words` for what was read. */
async function opening(words, read) {
  showError("");
  stopSound();
  state.loading += 1;
  status(`Reading ${words}…`);
  refresh();
  try {
    await read();
  } catch (error) {
    if (error.forPeople) showError(error.message);
    else showError(`${words} couldn't be uploaded. Check the connection and try again.`);
  } finally {
    state.loading -= 1;
    refresh();
  }
}

async function openExample(name, andPlay = false) {
  const same = state.example === name && state.store && state.store.take <= 0;
  if (andPlay && same && player.playing && player.store === state.store) return pause();
  if (andPlay && same && state.loop) return togglePlay();
  if (andPlay && state.store) unlockSound(state.store); // inside the click, or the browser refuses later
  await openWith("example", { name });
  if (andPlay && state.example === name) play(0);
}

async function openWith(what, data) {
  stopSound();
  if (data.name) status(`Reading ${data.name}…`);
  const view = await change(what, { ...data, beats_per_bar: state.perBar });
  if (!view) return;
  state.perBar = null;
  showError("");
  if (state.store && state.store.take > 0) showLoop(state.loop); // the same loop again, after its takes
  announce(`${state.loop.name}, ${barsOrBeats(state.loop.n_beats, state.loop.beats_per_bar)} at ${trim(state.loop.bpm)} BPM.`);
  refresh();
}

function showLoop(loop) {
  const store = new Store(loop, 0);
  forgetTaps();
  Object.assign(state, { loop, store, example: loop.example || null, cursor: 0, range: null, note: "" });
  markCards();
  store.shareStems();
  find("[data-mf]").classList.add("mf-has-loop");
  for (const name of ["[data-stage]", "[data-bar]", "[data-feel]"]) find(name).hidden = false;
  setText(find("[data-name]"), loop.name);
  const seconds = (loop.edges[loop.n_beats] / loop.sample_rate).toFixed(1);
  const channels = { 1: "mono", 2: "stereo" }[loop.n_channels] || `${loop.n_channels} channels`;
  setText(find("[data-facts]"), `${barsOrBeats(loop.n_beats, loop.beats_per_bar)} · ${seconds} s · ${loop.sample_rate / 1000} kHz ${channels}`);
  showGrid(loop);
  find("[data-notes]").replaceChildren(...loop.messages.map((text) => make("li", {}, text)));
  timeline.show(store);
  showLanes();
  showPosition();
  codesChanged();
  fetchStems(store);
}

function hideLoop() {
  Object.assign(state, { loop: null, store: null, example: null });
  for (const name of ["[data-stage]", "[data-bar]", "[data-feel]", "[data-result]"]) find(name).hidden = true;
  find("[data-mf]").classList.remove("mf-has-loop", "mf-has-result");
}

// Cards: the examples, and the visitor's own files.
function exampleTitle(name) {
  const words = name.replace(/\.[a-z0-9]+$/i, "").replace(/[_ ]*\d+(\.\d+)?[ _]*bpm/i, "").replace(/_/g, " ").trim() || name;
  return words[0].toUpperCase() + words.slice(1);
}

function outlineSvg(outline) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const n = outline.length;
  svg.setAttribute("viewBox", `0 0 ${n} 32`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "mf-card-wave");
  path.setAttribute("d", outline.map((level, k) => `M${k + 0.5} ${16 - 15 * level}V${16.5 + 15 * level}`).join(""));
  svg.append(path);
  return svg;
}

function exampleCard(example) {
  const title = exampleTitle(example.name), bpm = example.bpm ? `${trim(example.bpm)} BPM` : "";
  const open = make("button", { type: "button", class: "mf-card-open", title: example.name, onclick: () => openExample(example.name) },
    make("strong", {}, title), " ", make("span", { class: "mf-hint" }, bpm));
  return make("li", { class: "mf-card", "data-card": example.name }, outlineSvg(example.outline), playButton("example", example.name, `example ${title}`, () => openExample(example.name, true)), open);
}

function showFileCards() {
  for (const card of findAll("[data-file-card]")) card.remove();
  if (state.files.length < 2) return;
  find("[data-examples]").prepend(...state.files.map((file) => make("li", { class: "mf-card mf-card-file", "data-file-card": file.name },
    make("button", { type: "button", class: "mf-card-open", "aria-label": `Open ${file.name}`, onclick: () => openFile(file) }, make("strong", {}, exampleTitle(file.name)), make("span", { class: "mf-hint" }, "your file")))));
}

function markCards() {
  for (const card of findAll("[data-card]")) card.toggleAttribute("data-current", card.dataset.card === state.example);
}

/** Anywhere on the page a file may be dropped; the browser never opens it in the page's place. */
function wireDrop() {
  const input = find("#mf-file"), veil = find("[data-veil]");
  input.addEventListener("change", () => { openFiles(input.files); input.value = ""; });
  const hasFiles = (event) => event.dataTransfer && Array.from(event.dataTransfer.types || []).includes("Files");
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    veil.hidden = false;
  });
  window.addEventListener("dragleave", (event) => { if (!event.relatedTarget) veil.hidden = true; });
  window.addEventListener("drop", (event) => {
    veil.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    lastTouched = find("[data-open]");
    openFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => { if (event.clipboardData && event.clipboardData.files.length) openFiles(event.clipboardData.files); });
}
