// How the timeline looks. Every beat of the loop has a hue; a new beat, or each of its stems, wears the hue of the
// beat it was copied from, hatched where it was moved or transposed, and the accent where it was synthesised.
const HUES = [95, 325]; // leaves the accent's own neighbourhood out
const HATCH_PX = 6;

function readColours(node) {
  const style = getComputedStyle(node);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--mf-ink"), soft: read("--mf-soft"), accent: read("--mf-accent"), line: read("--mf-line"), mark: read("--mf-mark"),
    card: read("--mf-card"), hue: read("--mf-hue"), font: style.fontFamily,
  };
}

/** Where each row stands, in CSS pixels; lanes take height from the waveform, which then says less. */
function rowsOf(scale, lanes, codebooks) {
  const ruler = Math.max(26 * scale, 24), gap = 6 * scale;
  const wave = Math.max(88, Math.min((lanes.length ? 0.11 : 0.17) * window.innerHeight, 320));
  const lane = Math.max(46, 0.052 * window.innerHeight), tokens = Math.max(48, Math.min(0.085 * window.innerHeight, codebooks * 10 * scale));
  const rows = { ruler, wave: { top: ruler, height: wave }, lanes: [] };
  let top = ruler + wave + gap;
  for (const name of lanes) {
    rows.lanes.push({ name, top, height: lane });
    top += lane + 2;
  }
  rows.tokens = { top: top + (lanes.length ? gap : 0), height: tokens };
  rows.height = rows.tokens.top + tokens;
  return rows;
}

function hueOf(view, k) {
  const n = view.store.loop.n_beats;
  return `hsl(${Math.round(HUES[0] + ((HUES[1] - HUES[0]) * k) / Math.max(1, n))} ${view.colours.hue})`;
}

/** Of a beat's stem (null: of the mix), in order of time: where it came from; null where nobody knows. */
function sourcesOf(beat, stem) {
  if (!beat.sources) return null;
  return beat.sources[stem || "mix"] || null;
}

function colourOf(view, k, source) {
  const beat = view.store.beats[k];
  if (!beat.isNew) return view.rows.lanes.length || view.tinted ? hueOf(view, k) : view.colours.ink;
  if (source && source.silent) return view.colours.line;
  if (!source && beat.sources) return view.colours.ink; // of the mix, whose stems each say their own
  if (!source || source.from === null) return view.colours.accent;
  return hueOf(view, source.from % view.store.loop.n_beats);
}

function drawTimeline(view) {
  const g = view.canvas.getContext("2d");
  const ratio = window.devicePixelRatio || 1;
  const left = view.scroll.scrollLeft, width = view.scroll.clientWidth;
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, view.height);
  g.translate(-left, 0);
  const first = Math.max(0, Math.floor(left / view.beatWidth));
  const last = Math.min(view.total, Math.ceil((left + width) / view.beatWidth) + 1);
  view.tinted = view.store.beats.some((beat) => beat.sources);
  drawRange(g, view);
  for (let k = first; k < last; k++) drawBeat(g, view, k);
  for (let k = first; k <= last; k++) drawLine(g, view, k);
  if (view.chosen >= 0) drawOrigins(g, view, view.chosen);
}

function drawRange(g, view) {
  if (!view.range) return;
  g.fillStyle = view.colours.accent;
  g.globalAlpha = view.looping ? 0.28 : 0.14;
  g.fillRect(view.range[0] * view.beatWidth, 0, (view.range[1] - view.range[0]) * view.beatWidth, view.rows.ruler - 4);
  g.globalAlpha = 1;
}

function drawBeat(g, view, k) {
  const beat = view.store.beats[k], x = k * view.beatWidth, { rows, colours, beatWidth } = view;
  if (k === view.chosen) {
    g.fillStyle = colours.soft;
    g.fillRect(x, rows.ruler, beatWidth, view.height - rows.ruler);
  }
  if (!beat) {
    g.fillStyle = colours.line;
    for (const row of [rows.wave, ...rows.lanes]) g.fillRect(x + 2, row.top + row.height / 2 - 0.5, beatWidth - 4, 1);
    return;
  }
  g.globalAlpha = view.range && (k < view.range[0] || k >= view.range[1]) ? 0.35 : 1;
  const left = Math.round(x), width = Math.round(x + beatWidth) - left;
  g.drawImage(view.column(k, width), left, 0, width, view.height);
  g.globalAlpha = 1;
}

/** The outlines of a beat and its stems, and its tokens. */
function drawColumn(g, view, k) {
  const beat = view.store.beats[k], x = k * view.beatWidth, { rows, colours, beatWidth } = view;
  drawSound(g, view, k, beat.outline, sourcesOf(beat, null), rows.wave, 1);
  for (const row of rows.lanes) {
    const outline = beat.stems && beat.stems.outlines[row.name];
    g.globalAlpha = view.gains && view.gains[row.name] === 0 ? 0.25 : 1;
    if (outline) drawSound(g, view, k, outline, sourcesOf(beat, row.name), row, view.laneZoom(row.name));
    else {
      g.fillStyle = colours.line;
      g.fillRect(x + 2, row.top + row.height / 2 - 0.5, beatWidth - 4, 1);
    }
  }
  g.globalAlpha = 1;
  g.imageSmoothingEnabled = false;
  if (beat.codes.columns) g.drawImage(view.tile(k), x + 0.5, rows.tokens.top, beatWidth - 1, rows.tokens.height);
}

/** The outline of a beat in a row, in as many colours as it has sources. */
function drawSound(g, view, k, outline, sources, row, zoom) {
  const x = k * view.beatWidth, parts = sources && sources.length ? sources : [null];
  const whole = parts.reduce((sum, part) => sum + (part ? part.share : 1), 0) || 1;
  let at = 0;
  for (const part of parts) {
    const share = (part ? part.share : 1) / whole;
    const colour = colourOf(view, k, part);
    g.save();
    g.beginPath();
    g.rect(x + at * view.beatWidth, row.top, share * view.beatWidth + 0.5, row.height);
    g.clip();
    g.fillStyle = colour;
    drawOutline(g, view, outline, x, row, zoom);
    if (part && part.from !== null && (part.shift || part.moved)) hatch(g, view, x, row);
    g.restore();
    at += share;
  }
}

function drawOutline(g, view, outline, x, row, zoom) {
  const bins = outline.length / 2, step = view.beatWidth / bins, middle = row.top + row.height / 2;
  const height = (row.height / 2 - 2) * view.zoom * zoom, most = row.height / 2;
  const y = (value) => middle - clamp(value * height, -most, most);
  g.beginPath();
  g.moveTo(x, y(outline[1]) - 0.5);
  for (let b = 0; b < bins; b++) g.lineTo(x + (b + 1) * step, y(outline[2 * b + 1]) - 0.5);
  for (let b = bins - 1; b >= 0; b--) g.lineTo(x + (b + 1) * step, y(outline[2 * b]) + 0.5);
  g.lineTo(x, y(outline[0]) + 0.5);
  g.fill();
}

function hatch(g, view, x, row) {
  g.strokeStyle = view.colours.card;
  g.lineWidth = 1.5 * view.scale;
  g.beginPath();
  for (let at = -row.height; at < view.beatWidth; at += HATCH_PX * view.scale) {
    g.moveTo(x + at, row.top + row.height);
    g.lineTo(x + at + row.height, row.top);
  }
  g.stroke();
  g.lineWidth = 1;
}

function drawLine(g, view, k) {
  const bar = view.store.loop.beats_per_bar, x = Math.round(k * view.beatWidth) + 0.5, { rows, colours } = view;
  const isBar = k % bar === 0, isJoin = k === view.store.loop.n_beats;
  g.strokeStyle = isJoin ? colours.accent : colours.line;
  g.globalAlpha = isBar || isJoin ? 1 : 0.45;
  g.beginPath();
  g.moveTo(x, isBar ? 4 : rows.ruler);
  g.lineTo(x, view.height);
  g.stroke();
  g.globalAlpha = 1;
  if (isBar && k < view.total && view.beatWidth * bar > 24) {
    g.fillStyle = colours.mark;
    g.font = `${12 * view.scale}px ${colours.font}`;
    g.fillText(String(k / bar + 1), x + 13 * view.scale, 16 * view.scale); // a brace may stand at the line
  }
  if (view.marks.has(k)) {
    g.fillStyle = colours.accent;
    const redrawn = rows.lanes.filter((row) => view.marks.get(k).includes(row.name));
    for (const row of redrawn) g.fillRect(x - 1, row.top, 3 * view.scale, row.height);
    if (!redrawn.length) g.fillRect(x - 2, rows.ruler - 5 * view.scale, 5 * view.scale, 5 * view.scale);
  }
}

/** From the chosen beat, and each of its stems, to where it was copied from. */
function drawOrigins(g, view, k) {
  const beat = view.store.beats[k];
  if (!beat || !beat.sources) return;
  for (const row of [{ name: null, ...view.rows.wave }, ...view.rows.lanes]) {
    const parts = sourcesOf(beat, row.name);
    if (!parts || (view.lane && row.name && row.name !== view.lane)) continue;
    for (const part of parts) {
      if (part.from === null || part.share < 0.05) continue;
      const from = (part.from + 0.5) * view.beatWidth, to = (k + 0.5) * view.beatWidth, y = row.top + row.height / 2;
      g.strokeStyle = colourOf(view, k, part);
      g.lineWidth = 2 * view.scale;
      g.beginPath();
      g.moveTo(to, y);
      g.bezierCurveTo(to, row.top - 4, from, row.top - 4, from, y);
      g.stroke();
      g.beginPath();
      g.arc(from, y, 4 * view.scale, 0, 7);
      g.fillStyle = g.strokeStyle;
      g.fill();
      g.lineWidth = 1;
    }
  }
}

/** A beat's codes, one pixel a token. */
function tokenTile(beat, colours) {
  const { codes, isNew } = beat, tile = document.createElement("canvas");
  tile.width = codes.columns;
  tile.height = codes.codebooks;
  const g = tile.getContext("2d");
  g.fillStyle = isNew ? colours.accent : colours.ink;
  for (let c = 0; c < codes.columns; c++) {
    for (let q = 0; q < codes.codebooks; q++) {
      // Neighbouring entries of a codebook have nothing in common, so their shades are spread.
      g.globalAlpha = 0.08 + 0.82 * ((codes.data[c * codes.codebooks + q] * 0.618034) % 1);
      g.fillRect(c, q, 1, 1);
    }
  }
  return tile;
}

/** Where a beat came from, in words; one clause a stem where the stems are known apart. */
function originWords(beat, perBar) {
  if (!beat.sources) return "";
  const names = STEMS.filter((name) => beat.sources[name]);
  const words = (names.length ? names : ["mix"]).map((name) => {
    const parts = (beat.sources[name] || []).filter((part) => part.share >= 0.05);
    const said = [...new Set(parts.map((part) => partWords(part, perBar)))].join(" + ");
    return name === "mix" ? said : `${name} ${said}`;
  });
  return words.join(", ");
}

function partWords(part, perBar) {
  if (part.silent) return "silent";
  if (part.from === null) return "synthesised";
  const shift = part.shift ? `, ${part.shift > 0 ? "up" : "down"} ${plural(Math.abs(part.shift), "semitone")}` : "";
  return `from ${barAndBeat(part.from, perBar)}${shift}${part.moved ? ", moved" : ""}`;
}
