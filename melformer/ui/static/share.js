// A link that makes the same take again: the example or the loop's name, the settings and the seed, never any sound.
const SHARED = ["seed", "n_beats", "variation", "temperature", "density", "keep", "top_k", "top_p", "bpm", "beats_per_bar"];
const NOTE_MS = 6000; // what is played is told again after it
// A closed take ends on its way back to bar 1, so the link says so too.

function shareLink(take) {
  const values = new URLSearchParams();
  if (state.example) values.set("example", state.example);
  else values.set("loop", take.loop_name);
  for (const name of SHARED) if (take[name] !== undefined && take[name] !== null) values.set(name, Array.isArray(take[name]) ? take[name].join() : trim(take[name]));
  if (take.closed) values.set("close", "1");
  return `${location.href.split("#")[0]}#${values}`;
}

async function share() {
  const take = takeOf(state.store.take);
  if (!take) return;
  const link = shareLink(take);
  const words = take.edited ? " A link repeats the seed and settings, not the parts you redid." : take.steered ? " You moved the controls while it played, so a link can only repeat the last settings." : state.example ? "" : " Your sound stays here: whoever opens it drops in the same loop.";
  try {
    await navigator.clipboard.writeText(link);
    showNote(`Link copied.${words}`);
  } catch (error) {
    const dialog = find("[data-link]");
    find("#mf-link").value = link;
    setText(find("[data-link-words]"), `Copy this link.${words}`);
    dialog.showModal();
    find("#mf-link").select();
  }
}

function showNote(words) {
  state.note = words;
  state.noteUntil = performance.now() + NOTE_MS;
  announce(words);
  status(words);
}

/** Settings that came with the page's address; gives the example they were made for, if any. */
function readLink() {
  const values = new URLSearchParams(location.hash.slice(1));
  if (!values.has("seed")) return null;
  const set = (id, name) => { if (values.has(name)) find(id).value = values.get(name); };
  set("#mf-seed", "seed");
  set("#mf-variation", "variation");
  set("#mf-temperature", "temperature");
  set("#mf-topk", "top_k");
  set("#mf-topp", "top_p");
  state.perBar = Number(values.get("beats_per_bar")) || null;
  set("#mf-density", "density");
  lanes.kept = new Set((values.get("keep") || "").split(",").filter((name) => STEMS.includes(name)));
  find("#mf-close").checked = values.has("close");
  const n = Number(values.get("n_beats")), perBar = Number(values.get("beats_per_bar") || 4);
  if (n) {
    find("[data-unit]").value = n % perBar ? "beats" : "bars";
    find("#mf-count").value = n % perBar ? n : n / perBar;
  }
  showKnobs();
  history.replaceState(null, "", location.href.split("#")[0]);
  return { example: values.get("example"), loop: values.get("loop"), bpm: Number(values.get("bpm")) || null };
}

async function openLink(link, examples) {
  if (link.example && examples.includes(link.example)) {
    await openExample(link.example);
    if (link.bpm && state.loop && Math.abs(link.bpm - state.loop.bpm) > 0.005) await setTempo(link.bpm);
    return showNote("A shared take: press Continue to hear it.");
  }
  showNote(`A shared take of “${(link.loop || link.example || "").slice(0, 80)}”: drop in the same loop, then press Continue.`);
}
