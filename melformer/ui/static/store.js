// A take as the browser holds it: the loop's beats, then the new ones, each with its samples, codes and outline.
function decodeBytes(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text); // many times faster, where it exists
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = binary.charCodeAt(k);
  return bytes;
}
const decodePcm = (text) => new Int16Array(decodeBytes(text).buffer);
const decodeCodes = (codes) => ({ ...codes, data: new Uint16Array(decodeBytes(codes.data).buffer) });
const STEMS = ["drums", "bass", "other"];
const OUTLINE_BINS = 48;
const BIN_SAMPLES = 128; // as many are looked at: more changes no pixel
const HOLD_S = 0.031; // the server's join is 30 ms: so much of the loop's end waits for the first new beat

/** Least and most in each of a beat's bins, of `pcm` less what else is given. */
function outlineOf(pcm, channels, less = null, less2 = null) {
  const bins = new Float32Array(OUTLINE_BINS * 2), frames = pcm.length / channels;
  const step = channels * Math.max(1, Math.floor(frames / OUTLINE_BINS / BIN_SAMPLES)) + (channels > 1 ? 1 : 0); // takes the channels in turn
  for (let b = 0; b < OUTLINE_BINS; b++) {
    let low = 0, high = 0;
    const stop = Math.floor(((b + 1) * frames) / OUTLINE_BINS) * channels;
    for (let k = Math.floor((b * frames) / OUTLINE_BINS) * channels; k < stop; k += step) {
      const value = pcm[k] - (less ? less[k] : 0) - (less2 ? less2[k] : 0);
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    bins[2 * b] = low / 32768;
    bins[2 * b + 1] = high / 32768;
  }
  return bins;
}

/** The stems of one beat. Drums and bass travel; `other` is the rest, so that all three add up to the mix, bit for bit. */
function stemsOf(mix, drums, bass, channels) {
  const outlines = { other: outlineOf(mix, channels, drums, bass) };
  if (drums) outlines.drums = outlineOf(drums, channels);
  if (bass) outlines.bass = outlineOf(bass, channels);
  return { drums, bass, outlines };
}

function sliceColumns(codes, first, last) {
  return { codebooks: codes.codebooks, columns: last - first, data: codes.data.subarray(first * codes.codebooks, last * codes.codebooks) };
}

class Loop {
  constructor(view) {
    Object.assign(this, view);
    this.codes = decodeCodes(view.codes);
    this.present = []; // the stems that sound in it, once they are known
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
    this.waiting = false; // the loop plays round: until it is our turn, or beside a take (A/B)
  }

  get nNew() { return this.beats.length - this.loop.n_beats; }
  get frames() {
    const last = this.beats[this.beats.length - 1];
    return last.start + last.frames;
  }
  get playable() { return this.frames - this.held; }
  get newStart() { return this.loop.edges[this.loop.n_beats]; }

  /** New beats are expected: the end of the loop waits for its join. */
  expect(planned) {
    this.complete = false;
    this.planned = planned;
    if (this.nNew === 0) this.held = Math.ceil(HOLD_S * this.rate);
  }

  finish() {
    this.complete = true;
    this.waiting = false;
    this.planned = 0;
    if (this.nNew === 0) this.held = 0;
  }

  add(message) {
    if (message.beat !== this.nNew) return false;
    if (message.join !== null) this.join(decodePcm(message.join));
    const pcm = decodePcm(message.pcm);
    const beat = {
      pcm, codes: decodeCodes(message.codes), start: this.frames, frames: pcm.length / this.channels,
      isNew: true, outline: outlineOf(pcm, this.channels), sources: message.sources || null,
    };
    if (message.stems) this.addStems(beat, message.stems);
    this.beats.push(beat);
    return true;
  }

  addStems(beat, stems) {
    const read = (name) => (stems[name] ? decodePcm(stems[name]) : null);
    beat.stems = stemsOf(beat.pcm, read("drums"), read("bass"), this.channels);
  }

  /** The stems of the beats from `first` on: drums and bass as one stretch of PCM each. */
  setStems(first, stems) {
    const pcm = stems;
    const origin = this.beats[first].start;
    for (let k = first; k < this.beats.length; k++) {
      const beat = this.beats[k];
      const cut = (one) => one && one.subarray((beat.start - origin) * this.channels, (beat.start + beat.frames - origin) * this.channels);
      const drums = cut(pcm.drums), bass = cut(pcm.bass);
      if ([drums, bass].some((one) => one && one.length !== beat.pcm.length)) return;
      beat.stems = stemsOf(beat.pcm, drums, bass, this.channels);
    }
  }

  /** Take over the loop's stems, which may have come after this was made. */
  shareStems() {
    for (let k = 0; k < this.loop.n_beats; k++) {
      const own = this.beats[k], of = this.loop.beats[k].stems;
      if (!of || own.stems) continue;
      own.stems = own.pcm === this.loop.beats[k].pcm ? of : stemsOf(own.pcm, of.drums, of.bass, this.channels);
    }
  }

  join(pcm) {
    const last = this.beats[this.loop.n_beats - 1];
    last.pcm = Int16Array.from(last.pcm);
    last.pcm.set(pcm, last.pcm.length - pcm.length);
    last.outline = outlineOf(last.pcm, this.channels);
    if (last.stems) last.stems = stemsOf(last.pcm, last.stems.drums, last.stems.bass, this.channels);
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
    const limit = Math.min(this.waiting && frame >= this.playable ? this.frames : this.playable, stop);
    if (frame >= limit) return null;
    const beat = this.beats[this.beatAt(frame)];
    const end = Math.min(beat.start + beat.frames, limit);
    const cut = (pcm) => pcm && pcm.slice((frame - beat.start) * this.channels, (end - beat.start) * this.channels);
    const stems = beat.stems ? [cut(beat.stems.drums), cut(beat.stems.bass)] : null;
    return { at: frame, channels: this.channels, pcm: cut(beat.pcm), stems };
  }
}
