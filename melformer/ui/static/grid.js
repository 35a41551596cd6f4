// The beat grid: tempo, tap, nudge, where the one is, and how many bars there are.
const NUDGE_S = 0.01, TAP_PAUSE_MS = 2500, TAP_DONE_MS = 1500;

function showGrid(loop) {
  find("#mf-bpm").value = trim(loop.bpm);
  find("#mf-bar").value = loop.beats_per_bar;
  find("#mf-bars").value = Math.max(1, Math.round(loop.n_beats / loop.beats_per_bar));
  setText(find("[data-source]"), sourceWords(loop));
  find("[data-source]").classList.toggle("mf-doubt", loop.source === "detected" && loop.confidence < 0.6);
}

function sourceWords(loop) {
  const from = { "file name": "from file name", metadata: "from the file's tags", tags: "from the file's tags", detected: "detected", you: "set by you", argument: "set by you", tapped: "tapped" }[loop.source] || loop.source;
  if (loop.source !== "detected") return from;
  const percent = `${Math.round(loop.confidence * 100)}%`;
  return loop.confidence < 0.6 ? `not sure: check this (${percent})` : `${from} (${percent})`;
}

async function setTempo(bpm, more = {}) {
  const loop = state.loop;
  if (!loop) return;
  const perBar = Number(find("#mf-bar").value);
  if (!(bpm >= 40 && bpm <= 240)) {
    showError(`Tempo must be 40–240 BPM${Number.isFinite(bpm) ? `, not ${trim(bpm)}` : ""}.`, find("#mf-bpm"));
    showGrid(loop);
    return;
  }
  if (!Object.keys(more).length && Math.abs(bpm - loop.bpm) < 1e-9 && perBar === loop.beats_per_bar) return;
  showError("");
  stopSound();
  if (!(await change("retime", { bpm, beats_per_bar: perBar, ...more }))) showGrid(loop);
}

/** The grid begins `seconds` later (earlier where negative). */
function moveGrid(seconds) { return setTempo(state.loop.bpm, { shift_s: seconds }); }

function theOneIsHere() {
  const at = state.store.loop === state.loop ? Math.min(state.cursor, state.store.newStart) : 0;
  if (at <= 0) return showError("Click the beat where bar 1 starts, then press this.", act("one"));
  moveGrid(at / state.loop.sample_rate);
}

function setBars() {
  const n = Number(find("#mf-bars").value);
  if (!Number.isInteger(n) || n < 1) return showError("Give a whole number of bars.", find("#mf-bars"));
  setTempo(state.loop.bpm, { n_bars: n });
}

/** The median of the last taps' distances: one early tap does not matter. Nothing that is tapped moves. */
function tap() {
  const now = performance.now(), words = find("[data-source]");
  if (now - (state.taps[state.taps.length - 1] || 0) > TAP_PAUSE_MS) state.taps = [];
  state.taps.push(now);
  clearTimeout(state.tapTimer);
  const gaps = state.taps.slice(1).map((t, k) => t - state.taps[k]).slice(-8).sort((a, b) => a - b);
  if (gaps.length < 3) {
    setText(words, `${3 - gaps.length} more ${gaps.length === 2 ? "tap" : "taps"}`);
    state.tapTimer = setTimeout(() => state.loop && showGrid(state.loop), TAP_PAUSE_MS);
    return;
  }
  const bpm = 60000 / gaps[gaps.length >> 1];
  find("#mf-bpm").value = trim(bpm);
  setText(words, `tapped: ${trim(bpm)}`);
  state.tapTimer = setTimeout(() => setTempo(Math.round(bpm * 10) / 10, { tapped: true }), TAP_DONE_MS);
}

/** What was tapped for one loop is not another one's tempo. */
function forgetTaps() {
  clearTimeout(state.tapTimer);
  state.taps = [];
}

function wireGrid() {
  find("#mf-bpm").addEventListener("change", (event) => setTempo(Number(event.target.value)));
  find("#mf-bar").addEventListener("change", () => state.loop && setTempo(state.loop.bpm));
  const todo = { half: () => setTempo(state.loop.bpm / 2), double: () => setTempo(state.loop.bpm * 2), tap, earlier: () => moveGrid(-NUDGE_S), later: () => moveGrid(NUDGE_S), one: theOneIsHere, bars: setBars };
  for (const [name, run] of Object.entries(todo)) act(name).addEventListener("click", run);
}
