// Drums, bass and the rest: one row each under the waveform, with mute, solo, level and a file of its own.
const LANE_NAMES = { drums: "Drums", bass: "Bass", other: "Other" };
const NEW_WORDS = { drums: "new drums", bass: "a new bass line", other: "a new Other part" };
const PENDING_MS = 1500;
const lanes = { muted: new Set(), soloed: new Set(), kept: new Set(), levels: { drums: 1, bass: 1, other: 1 }, asked: new Map() };

function hasStems(store) { return Boolean(store && store.loop.present.length && store.beats.every((beat) => beat.stems)); }

function laneGains() {
  const heard = (name) => !lanes.muted.has(name) && (!lanes.soloed.size || lanes.soloed.has(name));
  return Object.fromEntries(STEMS.map((name) => [name, heard(name) ? lanes.levels[name] : 0]));
}

function mixLanes() {
  const gains = laneGains();
  timeline.gains = gains;
  player.setGains(STEMS.map((name) => gains[name]));
  timeline.redraw();
}

/** Stems come when they are ready; nothing waits for them. */
async function fetchStems(store) {
  if (!store) return;
  if (!store.loop.present.length) await fetchOnce(`loop ${store.loop.key}`, { key: store.loop.key }, (stems) => {
    if (!stems.present.length) return;
    setLoopStems(store.loop, stems);
    store.loop.present = stems.present;
  });
  store.loop.stemsKnown = true;
  store.shareStems();
  if (state.store && state.store.loop === store.loop) state.store.shareStems(); // what plays by now may be another store
  showLanes();
  const bare = store.beats.findIndex((beat) => !beat.stems);
  if (store.take < 1 || !store.complete || bare < store.loop.n_beats || !store.loop.present.length) return;
  await fetchOnce(`take ${store.take} ${store.nNew}`, { take: store.take, first: bare - store.loop.n_beats }, (stems) => stems.present.length && store.setStems(bare, stems));
  showLanes();
}

function setLoopStems(loop, stems) {
  const whole = new Store(loop, 0);
  whole.setStems(0, stems);
  whole.beats.forEach((beat, k) => { loop.beats[k].stems = beat.stems; });
}

async function fetchOnce(name, data, use) {
  if (lanes.asked.has(name)) return lanes.asked.get(name);
  const fetching = (async () => {
    for (;;) {
      const stems = await call("stems", data);
      if (!stems) return;
      if (!stems.pending) {
        for (const name of ["drums", "bass"]) stems[name] = stems[name] ? await fetchPcm(stems[name]) : null;
        return use(stems);
      }
      await new Promise((resolve) => setTimeout(resolve, PENDING_MS));
    }
  })();
  lanes.asked.set(name, fetching);
  await fetching;
  if (lanes.asked.size > 64) lanes.asked.clear();
}

function showLanes() {
  const store = state.store, present = store ? store.loop.present : [];
  const pending = store && !store.loop.stemsKnown; // until they come, the rows stay as they are: nothing jumps
  const shown = pending ? timeline.lanes : STEMS.filter((name) => present.includes(name));
  const changed = String(shown) !== String(timeline.lanes);
  timeline.lanes = shown;
  find("[data-mf]").classList.toggle("mf-has-lanes", shown.length > 0);
  if (changed) find("[data-lanes]").replaceChildren(...shown.map(laneHead));
  timeline.layout();
  if (!Object.values(laneGains()).every((gain) => gain === 1)) player.requeue();
  placeLaneHeads();
  if (state.store) refresh();
}

function laneHead(name) {
  const words = LANE_NAMES[name];
  const toggle = (label, title, set, then = mixLanes) => make("button", {
    type: "button", class: "mf-toggle", "aria-pressed": String(set.has(name)), "data-wide": label.length > 1, "aria-label": `${title} ${words.toLowerCase()}`, title: `${title} ${words.toLowerCase()}`,
    onclick: (event) => {
      if (!set.delete(name)) set.add(name);
      event.currentTarget.setAttribute("aria-pressed", String(set.has(name)));
      then();
    },
  }, label);
  const level = make("input", { type: "range", min: 0, max: 1, step: 0.01, value: lanes.levels[name], "aria-label": `${words} level`, oninput: (event) => { lanes.levels[name] = Number(event.target.value); mixLanes(); } });
  const vary = make("button", { type: "button", class: "mf-tool", "data-vary": name, "aria-label": `New ${words.toLowerCase()}`, title: `Play ${NEW_WORDS[name]}; the rest stays`, onclick: () => varyLane(name) });
  vary.append(icon("dice"), "New");
  const file = make("button", { type: "button", class: "mf-tool", "data-file": name, "aria-label": `Download ${words.toLowerCase()}`, title: `Download ${words.toLowerCase()} as WAV, or drag it to your desktop or DAW`, draggable: "true", onclick: () => saveStem(name) });
  dragOut(file, () => name, (store) => hasStems(store) && writeStem(name));
  file.append(icon("download"));
  return make("div", { class: "mf-lane", "data-lane": name }, make("span", { class: "mf-lane-name" }, words), toggle("M", "Mute", lanes.muted), toggle("S", "Solo", lanes.soloed), toggle("Keep", "Keep", lanes.kept, steer), vary, level, file);
}

/** A lane that is to play something new is not kept as it is. */
function releaseLane(name) {
  if (!lanes.kept.delete(name)) return;
  find(`[aria-label="Keep ${name}"]`).setAttribute("aria-pressed", "false");
}

function placeLaneHeads() {
  if (!timeline.rows) return;
  for (const row of timeline.rows.lanes) {
    const head = find(`[data-lane="${row.name}"]`);
    if (head) Object.assign(head.style, { top: `${row.top}px`, height: `${row.height}px` });
  }
}

function writeStem(name) { return call("export_stem", { stem: name, take: state.store.take > 0 ? state.store.take : null }); }

async function saveStem(name) {
  const path = await writeStem(name);
  if (path) download(path);
}

async function saveStems() {
  const path = await call("export_stems", { take: state.store.take > 0 ? state.store.take : null });
  if (path) download(path);
}
