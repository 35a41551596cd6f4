// Which part of a long recording to use: a window over its outline, that can be heard before it is taken.
const REGION_COLUMNS = 600, REGION_DEFAULT_S = 30;
const region = { pcm: null, outline: [], from: 0, length: 0, source: null };

/** At most `most` seconds. Resolves to [from, to] in seconds, or null when the visitor closes the window. */
function chooseRegion(name, pcm, most) {
  const dialog = find("[data-region]"), { start, length } = regionFields();
  Object.assign(region, { pcm, outline: coarseOutline(pcm.channels[0]) });
  setText(find("[data-region-name]"), `${name} · ${clock(pcm.seconds)}`);
  length.max = most.toFixed(2);
  length.value = Math.min(REGION_DEFAULT_S, most);
  start.max = pcm.seconds.toFixed(2);
  start.value = 0;
  dialog.returnValue = "";
  dialog.showModal();
  moveRegion();
  return new Promise((resolve) => {
    dialog.onclose = () => {
      stopRegion();
      resolve(dialog.returnValue === "ok" ? [region.from, region.from + region.length] : null);
    };
  });
}

function regionFields() { return { start: find("#mf-region-start"), length: find("#mf-region-length") }; }

function clock(seconds) { return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`; }

function coarseOutline(samples) {
  const step = samples.length / REGION_COLUMNS;
  return Array.from({ length: REGION_COLUMNS }, (_, c) => {
    let top = 0;
    for (let k = Math.floor(c * step); k < (c + 1) * step && k < samples.length; k++) top = Math.max(top, Math.abs(samples[k]));
    return top;
  });
}

function moveRegion() {
  const { start, length } = regionFields(), seconds = region.pcm.seconds;
  region.length = Math.min(Number(length.value), seconds);
  region.from = clamp(Number(start.value), 0, seconds - region.length);
  start.value = region.from;
  setText(find("[data-region-words]"), `${clock(region.from)} to ${clock(region.from + region.length)} (${region.length.toFixed(1)} s)`);
  const canvas = find("[data-region-canvas]"), g = canvas.getContext("2d"), colours = readColours(canvas), top = Math.max(0.05, ...region.outline);
  const inside = (c) => c >= (region.from / seconds) * REGION_COLUMNS && c <= ((region.from + region.length) / seconds) * REGION_COLUMNS;
  g.clearRect(0, 0, canvas.width, canvas.height);
  region.outline.forEach((level, c) => {
    g.fillStyle = inside(c) ? colours.accent : colours.line;
    const height = Math.max(2, (level / top) * (canvas.height - 4));
    g.fillRect(c * 2, (canvas.height - height) / 2, 1.6, height);
  });
}

function playRegion() {
  if (region.source) return stopRegion();
  const { pcm, from, length } = region, context = new AudioContext(), frames = Math.round(length * pcm.rate);
  const buffer = context.createBuffer(pcm.channels.length, Math.max(1, frames), pcm.rate);
  pcm.channels.forEach((one, c) => buffer.copyToChannel(one.subarray(Math.round(from * pcm.rate), Math.round(from * pcm.rate) + frames), c));
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.connect(context.destination);
  source.onended = stopRegion;
  source.start();
  region.source = { source, context };
  setText(act("region-play"), "Stop");
}

function stopRegion() {
  if (!region.source) return;
  region.source.source.onended = null;
  region.source.context.close();
  region.source = null;
  setText(act("region-play"), "Listen");
}

function wireRegion() {
  const { start, length } = regionFields(), canvas = find("[data-region-canvas]");
  for (const field of [start, length]) field.addEventListener("input", () => { stopRegion(); moveRegion(); });
  act("region-play").addEventListener("click", playRegion);
  const drag = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = canvas.getBoundingClientRect();
    start.value = ((event.clientX - box.left) / box.width) * region.pcm.seconds - region.length / 2;
    stopRegion();
    moveRegion();
  };
  canvas.addEventListener("pointerdown", drag);
  canvas.addEventListener("pointermove", drag);
}
