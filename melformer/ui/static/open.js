// The loop: choosing, dropping, tempo, cropping.
async function rememberLoop(key) {
  if (!state.loops.has(key)) {
    const view = await call("loop", { key });
    if (!view) return null;
    state.loops.set(key, new Loop(view));
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

async function openFile(file) {
  if (!file) return;
  showError("");
  if (file.size > state.limits.upload_mb * 1e6) {
    showError(`${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${state.limits.upload_mb} MB can be opened here. Cut out the loop first.`);
    return;
  }
  status(`Reading ${file.name} …`);
  try {
    const uploaded = await upload(file);
    await openWith("load", { path: uploaded.path });
  } catch (error) {
    showError(`${file.name} could not be uploaded. Check the connection and try again.`);
    refresh();
  }
}

async function openWith(what, data) {
  silence();
  if (data.name) status(`Reading ${data.name} …`);
  const view = await call(what, { ...data, beats_per_bar: Number(find("#mf-bar").value) });
  if (view) {
    showError("");
    await adopt(view);
    announce(`${state.loop.name}, ${barsAndBeats(state.loop.n_beats, state.loop.beats_per_bar)} at ${trim(state.loop.bpm)} BPM.`);
  } else refresh();
}

function showLoop(loop) {
  state.loop = loop;
  state.store = new Store(loop, 0);
  find("[data-mf]").classList.add("mf-has-loop");
  find("[data-explain]").hidden = true;
  find("[data-loop]").hidden = false;
  find("[data-stage]").hidden = false;
  setText(find("[data-name]"), loop.name);
  const seconds = (loop.edges[loop.n_beats] / loop.sample_rate).toFixed(1);
  const channels = { 1: "mono", 2: "stereo" }[loop.n_channels] || `${loop.n_channels} channels`;
  setText(find("[data-facts]"), `${barsAndBeats(loop.n_beats, loop.beats_per_bar)} · ${seconds} s · ${loop.sample_rate / 1000} kHz ${channels}`);
  find("#mf-bpm").value = trim(loop.bpm);
  find("#mf-bar").value = loop.beats_per_bar;
  setText(find("[data-source]"), sourceWords(loop));
  find("[data-notes]").replaceChildren(...loop.messages.map((text) => make("li", {}, text)));
  timeline.show(state.store);
  resetCrop();
  showPosition();
  codesChanged();
}

function hideLoop() {
  state.loop = null;
  state.store = null;
  for (const name of ["[data-loop]", "[data-stage]"]) find(name).hidden = true;
  find("[data-explain]").hidden = false;
  find("[data-mf]").classList.remove("mf-has-loop");
}

function sourceWords(loop) {
  if (loop.source === "you" || loop.source === "argument") return "as you set it";
  const sure = loop.confidence >= 0.9 ? "certain" : loop.confidence >= 0.6 ? "fairly sure" : "please check";
  const from = { "file name": "read from the file name", metadata: "read from the file", detected: "heard in the loop" }[loop.source] || loop.source;
  return `${from} · ${sure} (${Math.round(loop.confidence * 100)}%)`;
}

async function setTempo(bpm) {
  if (!state.loop) return;
  const perBar = Number(find("#mf-bar").value);
  if (!(bpm >= 40 && bpm <= 240)) {
    showError(`The tempo must lie between 40 and 240 BPM, not ${trim(bpm)}.`);
    find("#mf-bpm").value = trim(state.loop.bpm);
    return;
  }
  if (Math.abs(bpm - state.loop.bpm) < 1e-9 && perBar === state.loop.beats_per_bar) return;
  showError("");
  silence();
  const view = await call("retime", { bpm, beats_per_bar: perBar });
  if (view) await adopt(view);
  else find("#mf-bpm").value = trim(state.loop.bpm);
}

/** The median of the last taps' distances: one early tap does not matter. */
function tap() {
  const now = performance.now();
  if (now - (state.taps[state.taps.length - 1] || 0) > 2500) state.taps = [];
  state.taps.push(now);
  const gaps = state.taps.slice(1).map((t, k) => t - state.taps[k]).slice(-8).sort((a, b) => a - b);
  if (gaps.length < 3) return setText(find("[data-source]"), `tap ${plural(3 - gaps.length, "more time")}`);
  const bpm = 60000 / gaps[gaps.length >> 1];
  find("#mf-bpm").value = trim(bpm);
  setText(find("[data-source]"), `tapped · ${trim(bpm)} BPM`);
  clearTimeout(state.tapTimer);
  state.tapTimer = setTimeout(() => setTempo(Math.round(bpm * 10) / 10), 1500);
}

// Cropping: two handles on the bar lines of the loop.
function barEdges() {
  const { n_beats: n, beats_per_bar: bar } = state.loop;
  const edges = [];
  for (let k = 0; k < n; k += bar) edges.push(k);
  return [...edges, n];
}

function resetCrop() {
  state.crop = { first: 0, last: barEdges().length - 1 };
  placeHandles();
}

function placeHandles() {
  const shown = state.store && state.store.loop === state.loop && !state.busy && barEdges().length > 2;
  const edges = state.loop ? barEdges() : [0];
  for (const name of ["first", "last"]) {
    const handle = find(`[data-handle="${name}"]`);
    handle.hidden = !shown;
    if (!shown) continue;
    handle.style.transform = `translateX(${edges[state.crop[name]] * timeline.beatWidth}px)`;
    const top = timeline.tokenTop - handle.offsetHeight - 10; // low on the outline, so that beats above can be touched
    handle.style.top = `${top}px`;
    handle.style.setProperty("--up", `${timeline.barRow - top}px`);
    handle.style.setProperty("--line", `${timeline.height - timeline.barRow}px`);
    handle.setAttribute("aria-valuemax", edges.length - 1);
    handle.setAttribute("aria-valuenow", name === "first" ? state.crop.first + 1 : state.crop.last);
  }
  timeline.kept = shown ? [edges[state.crop.first], edges[state.crop.last]] : null;
  timeline.redraw();
  const cropped = shown && (state.crop.first > 0 || state.crop.last < edges.length - 1);
  act("crop").hidden = !cropped;
  if (cropped) setText(act("crop"), state.crop.last - state.crop.first === 1 ? `Crop to bar ${state.crop.last}` : `Crop to bars ${state.crop.first + 1} to ${state.crop.last}`);
}

function moveHandle(name, bar) {
  const top = barEdges().length - 1;
  if (name === "first") state.crop.first = Math.max(0, Math.min(bar, state.crop.last - 1));
  else state.crop.last = Math.min(top, Math.max(bar, state.crop.first + 1));
  placeHandles();
}

function wireHandle(handle) {
  const name = handle.dataset.handle;
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = timeline.scroll.getBoundingClientRect();
    const beat = (event.clientX - box.left + timeline.scroll.scrollLeft) / timeline.beatWidth;
    moveHandle(name, Math.round(beat / state.loop.beats_per_bar));
  });
  handle.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    moveHandle(name, state.crop[name] + step);
  });
}

async function crop() {
  const edges = barEdges();
  silence();
  await adopt(await call("crop", { first: edges[state.crop.first], last: edges[state.crop.last] }));
}
