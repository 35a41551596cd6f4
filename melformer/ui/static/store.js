// A take as the browser holds it: the loop's beats, then the new ones, each with its samples, codes and outline.
function decodeBytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // many times faster, where it exists
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = binary.charCodeAt(k);
  return bytes;
}
const decodePcm = (text) => new Int16Array(decodeBytes(text).buffer);
const decodeCodes = (codes) => ({ ...codes, data: new Uint16Array(decodeBytes(codes.data).buffer) });
const OUTLINE_BINS = 48;
const HOLD_S = 0.031; // the server's join is 30 ms: so much of the loop's end waits for the first new beat

function outlineOf(pcm, channels) {
  const bins = new Float32Array(OUTLINE_BINS * 2);
  const frames = pcm.length / channels;
  for (let b = 0; b < OUTLINE_BINS; b++) {
    let low = 0, high = 0;
    const stop = Math.floor(((b + 1) * frames) / OUTLINE_BINS) * channels;
    for (let k = Math.floor((b * frames) / OUTLINE_BINS) * channels; k < stop; k++) {
      if (pcm[k] < low) low = pcm[k];
      else if (pcm[k] > high) high = pcm[k];
    }
    bins[2 * b] = low / 32768;
    bins[2 * b + 1] = high / 32768;
  }
  return bins;
}

function sliceColumns(codes, first, last) {
  return { codebooks: codes.codebooks, columns: last - first, data: codes.data.subarray(first * codes.codebooks, last * codes.codebooks) };
}

class Loop {
  constructor(view) {
    Object.assign(this, view);
    this.pcm = decodePcm(view.pcm);
    this.codes = decodeCodes(view.codes);
    const perBeat = this.codes.columns / this.n_beats;
    this.beats = [];
    for (let k = 0; k < this.n_beats; k++) {
      const pcm = this.pcm.subarray(this.edges[k] * this.n_channels, this.edges[k + 1] * this.n_channels);
      const codes = sliceColumns(this.codes, Math.round(k * perBeat), Math.round((k + 1) * perBeat));
      this.beats.push({ pcm, codes, start: this.edges[k], frames: this.edges[k + 1] - this.edges[k], isNew: false, outline: outlineOf(pcm, this.n_channels) });
    }
  }
}

class Store {
  constructor(loop, take) {
    this.loop = loop;
    this.take = take; // its number; 0 for the loop alone
    this.rate = loop.sample_rate;
    this.channels = loop.n_channels;
    this.beats = loop.beats.map((beat) => ({ ...beat }));
    this.held = 0;
    this.planned = 0;
    this.complete = true;
  }

  get nNew() { return this.beats.length - this.loop.n_beats; }
  get frames() {
    const last = this.beats[this.beats.length - 1];
    return last.start + last.frames;
  }
  get playable() { return this.frames - this.held; }

  /** New beats are expected: the end of the loop waits for its join. */
  expect(planned) {
    this.complete = false;
    this.planned = planned;
    if (this.nNew === 0) this.held = Math.ceil(HOLD_S * this.rate);
  }

  finish() {
    this.complete = true;
    this.planned = 0;
    if (this.nNew === 0) this.held = 0;
  }

  add(message) {
    if (message.beat !== this.nNew) return false;
    if (message.join !== null) this.join(decodePcm(message.join));
    const pcm = decodePcm(message.pcm);
    this.beats.push({
      pcm, codes: decodeCodes(message.codes), start: this.frames, frames: pcm.length / this.channels,
      isNew: true, outline: outlineOf(pcm, this.channels),
    });
    return true;
  }

  join(pcm) {
    const last = this.beats[this.loop.n_beats - 1];
    last.pcm = Int16Array.from(last.pcm);
    last.pcm.set(pcm, last.pcm.length - pcm.length);
    last.outline = outlineOf(last.pcm, this.channels);
    this.held = 0;
  }

  beatAt(frame) {
    let low = 0, high = this.beats.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.beats[middle].start <= frame) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Samples from `frame` to the end of its beat, as far as they may be heard; null when there are none yet. */
  chunk(frame, stop) {
    const limit = Math.min(this.playable, stop);
    if (frame >= limit) return null;
    const beat = this.beats[this.beatAt(frame)];
    const end = Math.min(beat.start + beat.frames, limit);
    return { at: frame, channels: this.channels, pcm: beat.pcm.slice((frame - beat.start) * this.channels, (end - beat.start) * this.channels) };
  }
}
