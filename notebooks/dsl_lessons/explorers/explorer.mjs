// The explorers. Prototypes: the correction phase, computed and drawn here; Python hands over points, labels and an order.
// Runs, at the end: the curves of training, stored or live.
//
//   S_ij = cos(G(x_i), G(x_j))    rho_i = sum_j sign(S_ij - S_c)    eta_i = max_{rho_j > rho_i} S_ij, else min_j S_ij
//   prototypes of a class: of those with eta < eta_max the p with the greatest rho
//   sigma_c(x) = mean over the prototypes of c of cos(G(x), G(x_cl)),   corrected label = argmax_c sigma_c
//
// Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2. Ties as in dsl_teach.

// ---- The method ------------------------------------------------------------------------------------------------

const rounded = (x) => Math.round(x * 1e12) / 1e12; // so that equal cosines are equal whatever order they are summed in

/** The products of the rows `left` of a with the rows `right` of b, (left, right). Two by four at a time, so that a number
 *  once read serves several products; at the end of the rows the last is taken again. */
function products(a, left, b, right, d) {
  const [high, wide] = [left.length, right.length];
  const all = new Float64Array(high * wide);
  for (let i = 0; i < high; i += 2) {
    const next = Math.min(i + 1, high - 1);
    const [x, y] = [left[i] * d, left[next] * d];
    for (let j = 0; j < wide; j += 4) {
      const [j1, j2, j3] = [Math.min(j + 1, wide - 1), Math.min(j + 2, wide - 1), Math.min(j + 3, wide - 1)];
      const [p, q, r, s] = [right[j] * d, right[j1] * d, right[j2] * d, right[j3] * d];
      let [xp, xq, xr, xs, yp, yq, yr, ys] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < d; k++) {
        const xk = a[x + k];
        const yk = a[y + k];
        const pk = b[p + k];
        const qk = b[q + k];
        const rk = b[r + k];
        const sk = b[s + k];
        xp += xk * pk;
        xq += xk * qk;
        xr += xk * rk;
        xs += xk * sk;
        yp += yk * pk;
        yq += yk * qk;
        yr += yk * rk;
        ys += yk * sk;
      }
      all[i * wide + j] = xp;
      all[i * wide + j1] = xq;
      all[i * wide + j2] = xr;
      all[i * wide + j3] = xs;
      all[next * wide + j] = yp;
      all[next * wide + j1] = yq;
      all[next * wide + j2] = yr;
      all[next * wide + j3] = ys;
    }
  }
  return all;
}

/** Every row scaled to length one; a row of zeros stays zero. */
export function unitRows(x, n, d) {
  const unit = Float64Array.from(x);
  for (let start = 0; start < n * d; start += d) {
    const row = unit.subarray(start, start + d);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
    for (let k = 0; k < d; k++) row[k] /= largest;
    const length = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0)) || 1;
    for (let k = 0; k < d; k++) row[k] /= length;
  }
  return unit;
}

const NONE = { rows: [], slots: [], S: new Float64Array(0), width: 0 };

/** The same S in memory of another width. */
function wider({ S, width, rows }, wide) {
  const copy = new Float64Array(wide * wide);
  for (let slot = 0; slot < rows.length; slot++) copy.set(S.subarray(slot * width, slot * width + rows.length), slot * wide);
  return { S: copy, width: wide };
}

/** S of some rows of a set, each in a slot of it: a row that stood in the S of `before` stays where it was, or comes forward into
 *  a free slot, and only what is new is computed, all in the same memory. Returns rows, the slot of each, S and its width. */
export function similarity({ unit, d, n }, rows, before = NONE) {
  const m = rows.length;
  const { S, width } = before.width < m ? wider(before, m + 40) : before; // with room for more rows
  const slots = new Int32Array(n).fill(-1);
  for (const row of rows) slots[row] = m; // wanted, and without a slot so far
  const free = new Set(rows.keys());
  before.rows.forEach((row, at) => {
    if (slots[row] === m && free.delete(before.slots[at])) slots[row] = before.slots[at];
  });
  const places = [...free];
  before.rows.forEach((row, at) => {
    if (slots[row] !== m) return;
    const from = before.slots[at];
    const to = (slots[row] = places.pop());
    for (let j = 0; j < before.rows.length; j++) S[to * width + j] = S[j * width + to] = S[from * width + j];
    S[to * width + to] = S[from * width + from];
  });
  const fresh = rows.filter((row) => slots[row] === m);
  for (const row of fresh) slots[row] = places.pop();
  const cosines = products(unit, rows, unit, fresh, d); // in this order the fresh ones stay close at hand
  const own = Int32Array.from(rows, (row) => slots[row]);
  fresh.forEach((row, at) => {
    const slot = slots[row];
    for (let j = 0; j < m; j++) S[slot * width + own[j]] = S[own[j] * width + slot] = rounded(cosines[j * fresh.length + at]);
  });
  return { rows, slots: own, S, width };
}

const BINS = 4096; // from -1 to 1; one more for 1 itself

/** S_c: with the entries in ascending order number ceil(quantile * m * m). Only those of its bin are sorted, and of the
 *  two equal halves of S one is read. */
export function similarityThreshold(S, m, width, quantile) {
  const place = Math.max(Math.ceil(quantile * m * m - 1e-9), 1);
  const bin = (e) => ((S[e] + 1) * (BINS / 2)) | 0;
  const counts = new Uint32Array(BINS + 1);
  for (let i = 0; i < m; i++) {
    for (let e = i * width; e < i * width + i; e++) counts[bin(e)] += 2;
    counts[bin(i * width + i)]++;
  }
  let below = 0;
  let own = 0;
  while (below + counts[own] < place) below += counts[own++];
  const entries = new Float64Array(counts[own]);
  let at = 0;
  for (let i = 0; i < m; i++) {
    for (let e = i * width; e < i * width + i; e++) if (bin(e) === own) entries[at++] = entries[at++] = S[e];
    if (bin(i * width + i) === own) entries[at++] = S[i * width + i];
  }
  return entries.sort()[place - below - 1];
}

/** rho_i = sum_j sign(S_ij - S_c). */
export function density(S, m, width, Sc) {
  const rho = new Int32Array(m);
  const sign = (e) => (S[e] > Sc) - (S[e] < Sc);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < i; j++) {
      const both = sign(i * width + j);
      rho[i] += both;
      rho[j] += both;
    }
    rho[i] += sign(i * width + i);
  }
  return rho;
}

/** eta_i: the greatest similarity to a strictly denser sample; where there is none the smallest to any. */
export function eta(S, m, width, rho) {
  const order = Int32Array.from(rho.keys()).sort((i, j) => rho[j] - rho[i]);
  const found = new Float64Array(m);
  let denser = 0; // so many stand before those of this rho
  order.forEach((i, at) => {
    if (at && rho[order[at - 1]] > rho[i]) denser = at;
    let most = -Infinity;
    for (let j = 0; j < denser; j++) {
      const s = S[i * width + order[j]];
      if (s > most) most = s;
    }
    found[i] = denser ? most : Math.min(...S.subarray(i * width, i * width + m));
  });
  return found;
}

/** The first p: those that pass, densest first, at equal density smallest eta first; then the others by eta. */
export function choose(rho, eta_, p, etaMax) {
  const passed = (i) => eta_[i] < etaMax;
  const rank = (i, j) => passed(j) - passed(i) || (passed(i) && rho[j] - rho[i]) || eta_[i] - eta_[j] || i - j;
  return [...rho.keys()].sort(rank).slice(0, p);
}

/** Of each class the first m samples in the given order, ascending: what a generator draws in the library. */
export function drawn(labels, order, k, m) {
  const rows = Array.from({ length: k }, () => []);
  for (const i of order) if (rows[labels[i]].length < m) rows[labels[i]].push(i);
  return rows.map((own) => Int32Array.from(own).sort());
}

/** rho and eta of every row of a class, from those of its slots. */
function byRow({ slots, S, width }, quantile) {
  const m = slots.length;
  const rho = density(S, m, width, similarityThreshold(S, m, width, quantile));
  const eta_ = eta(S, m, width, rho);
  return { rho: slots.map((slot) => rho[slot]), eta: Float64Array.from(slots, (slot) => eta_[slot]) };
}

/** Everything that the picture shows for one choice of values; what did not change since `before` is kept. */
export function correct(set, values, before) {
  const { p, m, quantile, eta_max } = values;
  const { n, k } = set;
  const labels = set.noisy[set.rates.indexOf(values.noise_rate)];
  const known = before?.set === set ? before : undefined;
  const same = known?.labels === labels && known.m === m;
  const wanted = same || drawn(labels, set.order, k, m);
  const classes = set.classes.map((_, c) => {
    const old = known?.classes[c];
    const found = same ? old : similarity(set, wanted[c], old);
    if (!found.rows.length) return { ...found, rho: [], eta: [], chosen: [], passed: 0 };
    const { rho, eta: eta_ } = same && known.quantile === quantile ? old : byRow(found, quantile);
    const passed = eta_.reduce((count, value) => count + (value < eta_max), 0);
    return { ...found, rho, eta: eta_, chosen: choose(rho, eta_, p, eta_max), passed };
  });
  const scores = classScores(set, classes);
  const corrected = Uint8Array.from(labels, (given, i) => bestClass(scores, i * k, k, given));
  return { set, labels, m, quantile, classes, scores, corrected, n };
}

/** sigma, (N, K): a cosine is linear in the scaled sample, so the p prototypes of a class act as their mean. */
function classScores({ n, d, k, unit }, classes) {
  const means = new Float64Array(k * d);
  classes.forEach(({ rows, chosen }, c) => {
    for (const place of chosen) for (let f = 0; f < d; f++) means[c * d + f] += unit[rows[place] * d + f] / chosen.length;
  });
  const rowsOf = (count) => Int32Array.from({ length: count }, (_, row) => row);
  const scores = products(unit, rowsOf(n), means, rowsOf(k), d);
  classes.forEach(({ chosen }, c) => {
    if (!chosen.length) for (let i = 0; i < n; i++) scores[i * k + c] = -Infinity;
  });
  return scores;
}

/** The class with the greatest score; of several the given label if it is one of them, else the lowest. */
function bestClass(scores, start, k, given) {
  let greatest = -Infinity;
  for (let c = start; c < start + k; c++) if (scores[c] > greatest) greatest = scores[c];
  greatest = rounded(greatest);
  if (rounded(scores[start + given]) === greatest) return given;
  for (let c = 0; c < k; c++) if (scores[start + c] > greatest - 2e-12 && rounded(scores[start + c]) === greatest) return c;
}

/** A set of points as Python hands it over: numbers in base64. */
export function load(packed) {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const { n, d } = packed;
  const set = {
    ...packed,
    k: packed.classes.length,
    unit: unitRows(floats(packed.embeddings), n, d),
    places: floats(packed.places),
    clean: bytes(packed.clean),
    noisy: packed.noisy.map(bytes),
    order: new Uint32Array(bytes(packed.order).buffer),
    images: packed.images && bytes(packed.images),
  };
  return { ...set, middles: middles(set), sliders: sliders(set) };
}

// ---- The pictures ----------------------------------------------------------------------------------------------

const TICKS = [-1, 0, 0.5, 0.8, 0.95, 0.99, 1];
const RING = 1.63; // radius of the ring around points in the plane

/** A place from 0 to 1 for a cosine, with most of the room for those close to 1. */
const stretch = (cosine) => 1 - Math.sqrt(Math.acos(Math.min(1, Math.max(-1, cosine))) / Math.PI);

/** A canvas made sharp for this screen, cleared, with the ink of the page. */
function sheet(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = globalThis.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const g = canvas.getContext("2d");
  g.setTransform(scale, 0, 0, scale, 0, 0);
  g.clearRect(0, 0, width, height);
  g.lineJoin = "round";
  return { g, width, height };
}

function star(g, x, y, size, fill, edge, theme) {
  const mark = picture(theme, `star ${size} ${fill} ${edge}`, size + 2, (on, middle) => {
    on.beginPath();
    for (let turn = 0; turn < 10; turn++) {
      const radius = turn % 2 ? 0.45 * size : size;
      on.lineTo(middle + radius * Math.sin((turn * Math.PI) / 5), middle - radius * Math.cos((turn * Math.PI) / 5));
    }
    on.closePath();
    on.fillStyle = fill;
    on.strokeStyle = edge;
    on.lineWidth = 1.4;
    on.fill();
    on.stroke();
  });
  stamp(g, x, y, theme, mark);
}

function disc(g, x, y, radius, fill) {
  g.fillStyle = fill;
  g.beginPath();
  g.arc(x, y, radius, 0, 7);
  g.fill();
}

/** The picture of a mark that occurs often, painted once: drawn at whole pixels of the screen it is faster than a path. */
function picture(theme, key, half, paint) {
  const { scale, pictures } = theme;
  if (!pictures.has(key)) {
    const canvas = make("canvas");
    canvas.width = canvas.height = 2 * Math.ceil(half * scale);
    const on = canvas.getContext("2d");
    on.scale(scale, scale);
    on.lineJoin = "round";
    paint(on, canvas.width / scale / 2);
    pictures.set(key, canvas);
  }
  return pictures.get(key);
}

function stamp(g, x, y, { scale }, mark) {
  const side = mark.width / scale;
  const whole = (place) => Math.round((place - side / 2) * scale) / scale;
  g.drawImage(mark, whole(x), whole(y), side, side);
}

function marked(g, x, y, ink) {
  g.strokeStyle = ink;
  g.lineWidth = 2;
  g.beginPath();
  g.arc(x, y, 11, 0, 7);
  g.stroke();
}

/** Text over a soft edge of paper, readable above points. */
function haloed(g, text, x, y, theme, align = "center", weight = 600) {
  g.font = `${weight} 13px ${theme.font}`;
  g.textAlign = align;
  g.textBaseline = "middle";
  g.lineWidth = 4;
  g.strokeStyle = theme.paper;
  g.strokeText(text, x, y);
  g.fillStyle = theme.ink;
  g.fillText(text, x, y);
}

/** Points where they lie, in the colours of their labels, prototypes as stars. Returns where each point was drawn. */
function drawMap(canvas, view, values, theme, sample) {
  const { g, width, height } = sheet(canvas);
  const { set, labels, corrected, classes, n } = view;
  const pad = 14;
  const side = Math.min(width, height) - 2 * pad;
  const at = new Float32Array(2 * n);
  const x = (value) => width / 2 + (value * side) / (2 * set.reach);
  const y = (value) => height / 2 - (value * side) / (2 * set.reach);
  const seen = new Uint8Array(n);
  for (const { rows } of classes) for (const i of rows) seen[i] = 1;
  if (set.plane) ring(g, view, x, y, theme);
  const radius = n > 900 ? 2.6 : 3;
  const inFocus = (i) => values.focus < 0 || labels[i] === values.focus || corrected[i] === values.focus;
  const paint = (i) => (g.globalAlpha = !inFocus(i) ? 0.1 : seen[i] || labels[i] !== corrected[i] ? 0.9 : 0.4);
  for (let i = 0; i < n; i++) {
    at[2 * i] = x(set.places[2 * i]);
    at[2 * i + 1] = y(set.places[2 * i + 1]);
    if (labels[i] !== corrected[i]) continue;
    paint(i);
    disc(g, at[2 * i], at[2 * i + 1], radius, theme.colours[labels[i]]);
    if (corrected[i] !== set.clean[i]) cross(g, at[2 * i], at[2 * i + 1], radius, theme);
  }
  const marks = []; // by given label, corrected label, and whether that is wrong
  for (let i = 0; i < n; i++) {
    const [given, now] = [labels[i], corrected[i]];
    if (given === now) continue;
    const wrong = now !== set.clean[i];
    const kind = 2 * (given * set.k + now) + wrong;
    marks[kind] ??= picture(theme, `${kind} ${radius} ${values.alpha}`, 8, (on, middle) => {
      target(on, middle, middle, 1.7 * radius, given, now, values.alpha, theme);
      if (wrong) cross(on, middle, middle, radius, theme);
    });
    paint(i);
    stamp(g, at[2 * i], at[2 * i + 1], theme, marks[kind]);
  }
  g.globalAlpha = 1;
  classes.forEach(({ rows, chosen, eta: eta_ }, c) => {
    g.globalAlpha = values.focus < 0 || values.focus === c ? 1 : 0.12;
    for (const place of [...chosen].reverse()) {
      const hollow = !(eta_[place] < values.eta_max);
      const [fill, edge] = hollow ? [theme.paper, theme.colours[c]] : [theme.colours[c], theme.ink];
      star(g, at[2 * rows[place]], at[2 * rows[place] + 1], classes.length > 6 ? 7 : 9, fill, edge, theme);
    }
  });
  g.globalAlpha = 1;
  // The name of each class in the middle of its samples: nobody has to tell ten colours apart.
  if (!set.plane) set.classes.forEach((name, c) => haloed(g, name, x(set.middles[c][0]), y(set.middles[c][1]), theme));
  if (sample >= 0) marked(g, at[2 * sample], at[2 * sample + 1], theme.ink);
  return at;
}

/** What training is told of a changed label: a rim of the given colour, a core of the corrected one, area alpha. */
function target(g, x, y, radius, given, now, alpha, theme) {
  disc(g, x, y, radius + 0.8, theme.paper);
  disc(g, x, y, radius, theme.colours[given]);
  disc(g, x, y, radius * Math.sqrt(alpha), theme.colours[now]);
}

function cross(g, x, y, size, theme) {
  g.strokeStyle = theme.ink;
  g.lineWidth = 1.2;
  g.beginPath();
  for (const side of [-1, 1]) {
    g.moveTo(x - size, y - side * size);
    g.lineTo(x + size, y + side * size);
  }
  g.stroke();
}

/** Around points in the plane: the label that each direction gets, since a cosine knows only directions. */
function ring(g, { set, classes }, x, y, theme) {
  const steps = 180;
  const around = Float64Array.from({ length: 2 * steps }, (_, i) => {
    const angle = ((i >> 1) * 2 * Math.PI) / steps;
    return i % 2 ? Math.sin(angle) : Math.cos(angle);
  });
  const { unit, d, k } = set;
  const sums = classes.map(({ rows, chosen }) =>
    [0, 1].map((f) => chosen.reduce((sum, place) => sum + unit[rows[place] * d + f] / chosen.length, 0)));
  g.lineWidth = 6;
  for (let i = 0; i < steps; i++) {
    let best = -1;
    let most = -Infinity;
    for (let c = 0; c < k; c++) {
      const score = classes[c].chosen.length ? sums[c][0] * around[2 * i] + sums[c][1] * around[2 * i + 1] : -Infinity;
      if (score > most) [best, most] = [c, score];
    }
    if (best < 0) return;
    const angle = -(i * 2 * Math.PI) / steps;
    g.strokeStyle = theme.colours[best];
    g.beginPath();
    g.arc(x(0), y(0), x(RING) - x(0), angle - Math.PI / steps - 0.004, angle + Math.PI / steps + 0.004);
    g.stroke();
  }
}

/** The middle of each class's samples, where its name is written: the medians of their places. */
function middles({ classes, clean, places }) {
  const rows = [...clean.keys()];
  return classes.map((_, c) => {
    const own = rows.filter((i) => clean[i] === c);
    return [0, 1].map((f) => own.map((i) => places[2 * i + f]).sort((a, b) => a - b)[own.length >> 1]);
  });
}

/** The decision graph: rho over eta with the gate. Returns where each sample was drawn; far away where it was not. */
function drawGraph(canvas, view, values, theme, sample) {
  const { g, width, height } = sheet(canvas);
  const { classes, n } = view;
  const [left, top, right, bottom] = [46, 26, width - 12, height - 44];
  const most = Math.max(1, ...classes.flatMap(({ rho }) => [...rho].map(Math.abs)));
  const x = (value) => left + stretch(value) * (right - left);
  const y = (value) => (top + bottom) / 2 - ((value / most) * (bottom - top)) / 2.1;
  const at = new Float32Array(2 * n).fill(-99);
  const gate = x(Math.min(values.eta_max, 1));
  g.fillStyle = theme.shade;
  g.fillRect(left, top, Math.max(0, gate - left), bottom - top);
  graphAxes(g, { left, top, right, bottom, x, y, most }, theme);
  classes.forEach(({ rows, rho, eta: eta_ }, c) => {
    g.globalAlpha = values.focus < 0 || values.focus === c ? 0.7 : 0.08;
    rows.forEach((i, place) => {
      at[2 * i] = x(eta_[place]);
      at[2 * i + 1] = y(rho[place]);
      disc(g, at[2 * i], at[2 * i + 1], 2.8, theme.colours[c]);
    });
  });
  classes.forEach(({ rows, chosen, eta: eta_ }, c) => {
    g.globalAlpha = values.focus < 0 || values.focus === c ? 1 : 0.12;
    for (const place of [...chosen].reverse()) {
      const hollow = !(eta_[place] < values.eta_max);
      const [fill, edge] = hollow ? [theme.paper, theme.colours[c]] : [theme.colours[c], theme.ink];
      star(g, at[2 * rows[place]], at[2 * rows[place] + 1], 7, fill, edge, theme);
    }
  });
  g.globalAlpha = 1;
  g.setLineDash([5, 4]);
  line(g, gate, top, gate, bottom, theme.ink, 1.5);
  g.setLineDash([]);
  const room = 60; // half the width of the words
  haloed(g, `gate: η < ${values.eta_max}`, Math.min(right - room, Math.max(left + room, gate)), top - 12, theme);
  if (sample >= 0) marked(g, at[2 * sample], at[2 * sample + 1], theme.ink);
  return at;
}

function line(g, x1, y1, x2, y2, ink, width = 1) {
  g.strokeStyle = ink;
  g.lineWidth = width;
  g.beginPath();
  g.moveTo(x1, y1);
  g.lineTo(x2, y2);
  g.stroke();
}

function graphAxes(g, { left, top, right, bottom, x, y, most }, theme) {
  line(g, left, y(0), right, y(0), theme.faint);
  line(g, left, top, left, bottom, theme.soft);
  line(g, left, bottom, right, bottom, theme.soft);
  g.fillStyle = theme.soft;
  g.font = `12px ${theme.font}`;
  g.textBaseline = "middle";
  g.textAlign = "center";
  const write = (text, at, down) => g.fillText(signed(text), at, down);
  for (const tick of TICKS) write(tick, x(tick), bottom + 13);
  write("η, similarity to something denser", (left + right) / 2, bottom + 32);
  g.textAlign = "right";
  for (const tick of [-most, 0, most]) write(tick, left - 6, y(tick));
  g.textAlign = "left";
  write("ρ, density", left - 38, 10);
}

// ---- What the reader sees and moves ----------------------------------------------------------------------------

const signed = (value) => String(value).replace("-", "−"); // a minus sign, not a hyphen
const percent = (share) => `${(100 * share).toFixed(1)} %`;

function sliders(set) {
  const largest = Math.max(...set.noisy.flatMap((labels) => set.classes.map((_, c) => labels.filter((l) => l === c).length)));
  return [
    { name: "p", words: "prototypes a class", min: 1, max: 16, step: 1 },
    { name: "m", words: "samples drawn a class", min: 20, max: Math.min(400, 10 * Math.ceil(largest / 10)), step: 10 },
    { name: "quantile", words: "share of S up to S_c", min: 0.05, max: 1, step: 0.05 },
    { name: "eta_max", words: "the gate for η", min: 0, max: 1, step: 0.01 },
    { name: "noise_rate", words: "share of wrong labels", values: set.rates },
    { name: "alpha", words: "weight of corrected labels", min: 0, max: 1, step: 0.05 },
  ];
}

function make(tag, className = "", text = "", attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** How many labels are right and kept, fixed, broken, still wrong. */
function outcome({ labels, corrected, set, n }) {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [was, is] = [labels[i] === set.clean[i], corrected[i] === set.clean[i]];
    counts[was ? (is ? 0 : 2) : is ? 1 : 3]++;
  }
  return counts;
}

/** Why a sample has the label that it has, in sentences. */
export function explain(view, values, i) {
  const { set, labels, corrected, classes, scores } = view;
  const { k } = set;
  const [given, now, name] = [labels[i], corrected[i], (c) => set.classes[c]];
  const sigma = (c) => signed(scores[i * k + c].toFixed(3));
  const others = [...Array(k).keys()].filter((c) => c !== given);
  const rival = others.reduce((a, b) => (scores[i * k + b] > scores[i * k + a] ? b : a));
  const label = given !== now
    ? `Changed from ${name(given)} to ${name(now)}: it resembles the prototypes of ${name(now)} more, σ = ${sigma(now)}, than those of ${name(given)}, ${sigma(given)}.`
    : `Kept as ${name(given)}: no class has a higher score; σ = ${sigma(given)}, next is ${name(rival)} with ${sigma(rival)}.`;
  const { rows, rho, eta: eta_, chosen } = classes[given];
  const place = rows.indexOf(i);
  if (place < 0) return { label, choice: `It is not among the ${rows.length} samples drawn for ${name(given)}, so it has no ρ and no η.` };
  const [rank, passes] = [chosen.indexOf(place), eta_[place] < values.eta_max];
  const choice = rank >= 0
    ? passes
      ? `Prototype ${rank + 1} of ${name(given)}: it passes the gate, and few that pass are denser.`
      : `Prototype ${rank + 1} of ${name(given)}, to fill up: it does not pass the gate, but too few do.`
    : passes
      ? "No prototype: it passes the gate, but others that pass are denser."
      : "No prototype: something denser looks like it, so it does not pass the gate.";
  return { label, choice, rho: rho[place], eta: eta_[place] };
}

/** A labelled slider over a range, or over a list of values. */
function sliderRow({ name, words, min = 0, max, step = 1, values: list }, values, change) {
  const row = make("label", "dsl-row");
  const label = make("span", "dsl-label", name);
  label.append(make("small", "", words));
  const range = { type: "range", name, min, max: list ? list.length - 1 : max, step, "aria-label": `${name}: ${words}` };
  const input = make("input", "", "", range);
  input.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrow keys
  const readout = make("output", "dsl-readout");
  input.show = () => {
    const value = values()[name];
    input.value = list ? list.indexOf(value) : value;
    readout.textContent = value;
    input.setAttribute("aria-valuetext", value);
  };
  input.addEventListener("input", () => change({ [name]: list ? list[input.value] : Number(input.value) }));
  row.append(label, input, readout);
  return row;
}

/** The command of a batch run with the present values, and a button that copies it. */
function commandRow() {
  const row = make("div", "dsl-command");
  const code = make("code");
  const copy = make("button", "dsl-button", "Copy as batch run", { type: "button" });
  copy.addEventListener("click", async () => {
    getSelection().selectAllChildren(code); // where the clipboard is closed to us, the text stands selected
    const done = await navigator.clipboard?.writeText(code.textContent).then(() => true, () => false);
    copy.textContent = done ? "Copied" : "Selected: press Ctrl+C";
    setTimeout(() => (copy.textContent = "Copy as batch run"), 2000);
  });
  row.append(copy, code);
  row.show = (text, values) => (code.textContent = text.replace(/\{(\w+)\}/g, (_, name) => values[name]));
  return row;
}

/** Pictures beside each other, each with its title; arrow keys reach them. */
function panels(figure, titles, className = "dsl-canvas") {
  return titles.map((title) => {
    const box = make("figure", "dsl-panel");
    const canvas = make("canvas", className, "", { tabindex: 0, role: "img" });
    canvas.dataset.lmSuppressShortcuts = "true"; // else JupyterLab takes the arrow keys
    box.append(make("figcaption", "dsl-title", title), canvas);
    figure.append(box);
    return canvas;
  });
}

/** Paint anew when a picture gets room or another size, or the page another scheme. Returns how to end that. */
function repainted(el, canvases, paint) {
  const repaint = () => el.isConnected && canvases[0].clientWidth && paint();
  const sizes = new ResizeObserver(repaint);
  canvases.forEach((canvas) => sizes.observe(canvas));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", repaint);
  return () => (sizes.disconnect(), dark.removeEventListener("change", repaint));
}

/** The value nearest to the wanted one that a slider can take, whatever a link or a kernel says. */
function within({ name, min, max, step, values: list }, wanted, start) {
  const value = Number.isFinite(wanted[name]) ? wanted[name] : start[name];
  const near = list ?? [Math.min(max, Math.max(min, Math.round(value / step) * step))];
  return Number(near.reduce((a, b) => (Math.abs(b - value) < Math.abs(a - value) ? b : a)).toFixed(6));
}

const SIGNS = ["★ prototype", "☆ did not pass, fills up", "◉ changed: rim given, core corrected (its area is α)", "× wrong after correction"];

/** Build the explorer inside an element. `say` is told every new state. Returns how to show a state from outside. */
export function mount(el, { sets: packed, values: start }, say = () => {}) {
  const loaded = new Map();
  const setOf = (place) => loaded.get(place) ?? loaded.set(place, load(packed[place])).get(place);
  let values = { set: 0, focus: -1, sample: -1, ...start };
  let hover = -1;
  let set, view, theme;
  let places = [[], []]; // where each sample was drawn in the two pictures
  el.replaceChildren();
  el.classList.add("dsl-explorer");

  const controls = make("div", "dsl-controls");
  const legend = make("div", "dsl-legend", "", { role: "group", "aria-label": "Classes: choose one to see it alone" });
  const figure = make("div", "dsl-figure");
  const canvases = panels(figure, ["Map of all samples", "Decision graph"]);
  const signs = make("p", "dsl-signs");
  SIGNS.forEach((sign) => signs.append(make("span", "", sign)));
  const bar = make("div", "dsl-bar", "", { "aria-hidden": "true" });
  const summary = make("p", "dsl-summary", "", { role: "status" });
  const card = make("div", "dsl-card", "", { role: "region", "aria-live": "polite", "aria-label": "The sample pointed at" });
  const command = commandRow();
  el.append(controls, legend, figure, signs, bar, summary, card, command);

  function build() {
    set = setOf(values.set);
    theme = themeOf(el, set);
    card.style.minHeight = `${Math.max(124, 17 * set.k + 30)}px`;
    controls.replaceChildren(...(packed.length > 1 ? [setRow()] : []), ...set.sliders.map((slider) => sliderRow(slider, () => values, change)));
    legend.replaceChildren(...set.classes.map(classButton));
  }

  function setRow() {
    const row = make("label", "dsl-row dsl-sets");
    const choice = make("select", "", "", { name: "set" });
    packed.forEach((one, place) => choice.append(new Option(one.name, place, false, place === values.set)));
    choice.addEventListener("change", () => change({ set: Number(choice.value), focus: -1, sample: -1 }));
    row.append(make("span", "dsl-label", "samples"), choice);
    return row;
  }

  function classButton(name, c) {
    const button = make("button", "dsl-class", "", { type: "button", title: "Show this class alone, or all again" });
    const swatch = make("span", "dsl-swatch");
    swatch.style.background = theme.colours[c];
    button.append(swatch, make("span", "", name), make("small"));
    button.addEventListener("click", () => change({ focus: values.focus === c ? -1 : c }));
    return button;
  }

  /** Values that the sliders can take, whatever a link or a kernel says. */
  function settled(wanted) {
    const clean = { ...values, ...wanted };
    clean.set = packed[clean.set] ? clean.set : 0;
    const next = setOf(clean.set);
    for (const slider of next.sliders) clean[slider.name] = within(slider, clean, start);
    if (!(clean.focus >= 0 && clean.focus < next.k)) clean.focus = -1;
    if (!(clean.sample >= 0 && clean.sample < next.n)) clean.sample = -1;
    return clean;
  }

  function show(wanted) {
    values = settled(wanted);
    if (set !== setOf(values.set)) build();
    view = correct(set, values, view);
    hover = -1;
    draw(); // first: it asks how large the pictures are, which takes long once anything on the page has changed
    for (const input of controls.querySelectorAll("input")) input.show();
    tell();
  }

  function change(wanted) {
    show(wanted);
    say(values);
  }

  function draw() {
    const sample = hover >= 0 ? hover : values.sample;
    // Not laid out yet, as in a cell far below: the observer of sizes draws it as soon as there is room.
    if (canvases[0].clientWidth) places = [drawMap, drawGraph].map((paint, side) => paint(canvases[side], view, values, theme, sample));
    tellSample(sample);
  }

  function tell() {
    const { n, classes } = view;
    const [kept, fixed, broken, wrong] = outcome(view);
    const before = (kept + broken) / n;
    const after = (kept + fixed) / n;
    const filled = classes.reduce((sum, c) => sum + Math.max(0, c.chosen.length - c.passed), 0);
    const parts = [["kept", kept, "right, kept"], ["fixed", fixed, "fixed"], ["broken", broken, "broken"], ["wrong", wrong, "still wrong"]];
    bar.replaceChildren(...parts.map(([kind, count, words]) => {
      const part = make("span", `dsl-part dsl-${kind}`, count > 0.03 * n ? `${count} ${words}` : "", { title: `${words} ${count}` });
      part.style.flexGrow = count;
      part.hidden = !count;
      return part;
    }));
    summary.textContent = `Labels right: ${percent(before)} given, ${percent(after)} corrected (${fixed} fixed, ${broken} broken). ` +
      `In training with α = ${values.alpha} the right class has ${percent((1 - values.alpha) * before + values.alpha * after)} of the weight. ` +
      (filled ? `${filled} place${filled > 1 ? "s" : ""} filled up with samples that did not pass the gate.` : "Every prototype passed the gate.");
    [...legend.children].forEach((button, c) => {
      button.setAttribute("aria-pressed", values.focus === c);
      button.lastChild.textContent = `${classes[c].passed} of ${classes[c].rows.length} pass`;
    });
    canvases[0].setAttribute("aria-label", `${set.told}. ${summary.textContent} Arrow keys right and left: changed labels; up and down: prototypes.`);
    canvases[1].setAttribute("aria-label", `Decision graph, density over eta. ${classes.map((c, i) => `${set.classes[i]}: ${c.passed} of ${c.rows.length} pass the gate`).join("; ")}.`);
    command.show(set.command, values);
  }

  function tellSample(i) {
    if (i < 0) {
      card.replaceChildren(make("p", "dsl-hint", "Point at a sample, or tap it: its ρ, η, scores, and why its label changes. With the keyboard: arrow keys in the map."));
      return;
    }
    const { label, choice, rho, eta: eta_ } = explain(view, values, i);
    const text = make("div", "dsl-why");
    const told = [["sample", i], ["given", set.classes[view.labels[i]]], ["corrected", set.classes[view.corrected[i]]],
      ["true", set.classes[set.clean[i]]], ["ρ", rho ?? "–"], ["η", eta_?.toFixed(3) ?? "–"]];
    const facts = make("p", "dsl-facts");
    for (const [name, value] of told) {
      const fact = make("span", "", `${name} `);
      fact.append(make("b", "", signed(value)));
      facts.append(fact);
    }
    text.append(facts, make("p", "", label), make("p", "", choice));
    card.replaceChildren(...(set.images ? [thumbnail(i)] : []), text, scoreBars(i));
  }

  function thumbnail(i) {
    const side = set.side;
    const canvas = make("canvas", "dsl-thumbnail", "", { role: "img", "aria-label": `image of sample ${i}` });
    canvas.width = canvas.height = side;
    const g = canvas.getContext("2d");
    const pixels = g.createImageData(side, side);
    const channels = set.images.length / (set.n * side * side);
    for (let at = 0; at < side * side; at++) {
      const start = (i * side * side + at) * channels;
      for (let f = 0; f < 3; f++) {
        pixels.data[4 * at + f] = channels === 1 ? 255 - set.images[start] : set.images[start + f];
      }
      pixels.data[4 * at + 3] = 255;
    }
    g.putImageData(pixels, 0, 0);
    return canvas;
  }

  /** The class scores of a sample, each a bar from 0 to 1, or from -1 where one is negative. */
  function scoreBars(i) {
    const own = [...view.scores.subarray(i * set.k, i * set.k + set.k)];
    const low = own.some((score) => Number.isFinite(score) && score < 0) ? -1 : 0;
    const bars = make("div", "dsl-scores", "", { role: "img", "aria-label": `class scores: ${own.map((s, c) => `${set.classes[c]} ${s.toFixed(3)}`).join(", ")}` });
    own.forEach((score, c) => {
      const row = make("div", "dsl-score");
      const track = make("span", "dsl-track");
      const fill = make("span", "dsl-fill");
      fill.style.background = theme.colours[c];
      fill.style.width = `${Math.max(0, (100 * (score - low)) / (1 - low))}%`;
      track.append(fill);
      row.append(make("span", "", set.classes[c]), track, make("span", "dsl-number", Number.isFinite(score) ? signed(score.toFixed(3)) : "none"));
      if (c === view.corrected[i]) row.classList.add("dsl-best");
      bars.append(row);
    });
    return bars;
  }

  /** The sample drawn nearest to a pointer, within reach of a finger. */
  function nearest(side, event) {
    const box = canvases[side].getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = -1;
    let least = (event.pointerType === "touch" ? 22 : 12) ** 2;
    for (let i = 0; i < view.n; i++) {
      const far = (places[side][2 * i] - x) ** 2 + (places[side][2 * i + 1] - y) ** 2;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  function point(i) {
    if (i === hover) return;
    hover = i;
    draw();
  }

  /** With the keyboard: the next or the last of the changed labels, or of the prototypes. */
  function step(key) {
    const changed = key === "ArrowRight" || key === "ArrowLeft";
    const list = changed
      ? [...view.labels.keys()].filter((i) => view.labels[i] !== view.corrected[i])
      : view.classes.flatMap(({ rows, chosen }) => chosen.map((place) => rows[place]));
    const shown = list.filter((i) => values.focus < 0 || view.labels[i] === values.focus);
    if (!shown.length) return;
    const forward = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const now = shown.indexOf(values.sample);
    change({ sample: shown[now < 0 ? 0 : (now + forward + shown.length) % shown.length] });
  }

  canvases.forEach((canvas, side) => {
    canvas.addEventListener("pointermove", (event) => event.pointerType !== "touch" && point(nearest(side, event)));
    canvas.addEventListener("pointerleave", () => point(-1));
    canvas.addEventListener("click", (event) => change({ sample: nearest(side, event) }));
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") change({ sample: -1 });
      else if (event.key.startsWith("Arrow")) step(event.key);
      else return;
      event.preventDefault();
    });
  });
  const remove = repainted(el, canvases, () => {
    theme = themeOf(el, set);
    draw();
  });
  show({});
  return { show, remove };
}

/** The colours of the page around the explorer; on dark paper the colours of classes are lighter. */
function themeOf(el, set) {
  const style = getComputedStyle(el);
  const read = (name) => {
    const probe = make("span");
    probe.style.color = `var(--dsl-${name})`;
    el.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  const [ink, soft, faint, shade, paper] = ["ink", "soft", "faint", "shade", "paper"].map(read);
  const isDark = Number(paper.match(/\d+/)?.[0] ?? 255) < 128; // no colour yet where the element is not in the page
  const lighter = (hex) => {
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgb(${parts.map((part) => Math.round(part + (255 - part) * 0.3)).join(" ")})`;
  };
  const colours = isDark ? set.colours.map(lighter) : set.colours;
  const scale = globalThis.devicePixelRatio || 1;
  return { ink, soft, faint, shade, paper, colours, scale, font: style.fontFamily, pictures: new Map() };
}

// ---- Runs: the curves of training, stored or live -----------------------------------------------------------------

const CURVES = [
  ["test_accuracy", "test samples right", "#1f5fa8"],
  ["label_accuracy", "corrected labels right", "#1b7f5c"],
  ["memorised", "wrong labels memorised", "#c4452f"],
];
const STRIP = { left: 52, right: 16 }; // room beside the picture of all runs
const KNOBS = ["p", "m", "alpha", "correction_start"];

/** The place of the run whose knobs lie nearest; p and m count by their ratio, each knob by the range it covers. */
export function nearestRun(runs, values) {
  const place = (name, value) => (name === "p" || name === "m" ? Math.log(value) : value);
  const width = (name) => {
    const all = runs.map((run) => place(name, run.knobs[name]));
    return Math.max(...all) - Math.min(...all) || 1;
  };
  const widths = Object.fromEntries(KNOBS.map((name) => [name, width(name)]));
  const far = (run) => KNOBS.reduce((sum, name) => sum + Math.abs(place(name, run.knobs[name]) - place(name, values[name])) / widths[name], 0);
  return runs.reduce((best, run, at) => (best < 0 || far(run) < far(runs[best]) ? at : best), -1);
}

/** Build the explorer of runs inside an element. `press` is told of the buttons that train and stop. */
export function mountRuns(el, { runs, sliders: specs, values: start, command: text }, say = () => {}, press) {
  let values = { run: -1, ...start };
  let live = {};
  let upto = Infinity;
  let theme, playing;
  el.replaceChildren();
  el.classList.add("dsl-explorer");
  const controls = make("div", "dsl-controls");
  const buttons = make("div", "dsl-legend");
  const figure = make("div", "dsl-figure");
  const titles = ["Epoch by epoch", ...(runs.length > 1 ? [`Test accuracy of all ${runs.length} stored runs`] : [])];
  const canvases = panels(figure, titles, "dsl-canvas dsl-low");
  const ordered = [...runs.keys()].sort((a, b) => runs[a].accuracy - runs[b].accuracy);
  const signs = make("p", "dsl-signs");
  const summary = make("p", "dsl-summary", "", { role: "status" });
  const command = commandRow();
  command.hidden = !text;
  controls.append(...specs.map((spec) => sliderRow(spec, () => values, (wanted) => change({ ...wanted, run: -1 }))));
  el.append(controls, buttons, figure, signs, summary, command);
  const button = (name, act) => {
    const made = make("button", "dsl-button", name, { type: "button" });
    made.addEventListener("click", act);
    buttons.append(made);
    return made;
  };
  if (runs.length) button("Play", play);
  const pressed = press ? ["Train", "Stop"].map((name) => button(name, () => press(name.toLowerCase()))) : [];
  const chosen = () => (values.run >= 0 ? values.run : nearestRun(runs, values));

  function change(wanted) {
    values = { ...values, ...wanted };
    whole();
    say(values);
    draw();
  }

  /** Let the curves of the chosen run grow epoch by epoch. */
  function play() {
    whole();
    upto = 0;
    const last = runs[chosen()].curves.test_accuracy.length;
    playing = setInterval(() => (++upto >= last && whole(), draw()), 120);
  }

  function whole() {
    clearInterval(playing);
    upto = Infinity;
  }

  function draw() {
    for (const input of controls.querySelectorAll("input")) input.show();
    const run = runs[chosen()];
    theme ??= themeOf(el, { colours: CURVES.map(([, , colour]) => colour) });
    if (canvases[0].clientWidth) {
      drawCurves(canvases[0], runs, run, live, values, upto, theme);
      if (canvases[1]) drawStrip(canvases[1], runs, ordered, chosen(), theme);
    }
    const known = (name) => [live.curves, run?.curves].some((curves) => curves?.[name]?.some((share) => share != null));
    const shown = CURVES.map(([name, words], at) => [words, theme.colours[at], known(name)]);
    const others = [["test samples right, all stored runs", theme.faint, runs.length > 1], ["your run before", theme.soft, live.before]];
    const dashes = run && live.curves?.test_accuracy.length ? [make("span", "", "dashed: stored; full: your run")] : [];
    signs.replaceChildren(...[...shown, ...others].filter(([, , there]) => there).map(sign), ...dashes);
    summary.textContent = [run ? tellRun(run, values) : "", live.state ? tellLive(live) : ""].join(" ").trim() || "No run yet: press Train.";
    canvases[0].setAttribute("aria-label", `Curves of training. ${summary.textContent}`);
    canvases[1]?.setAttribute("aria-label", `Test accuracy of every stored run. ${summary.textContent} Arrow keys: the next better or worse run.`);
    pressed.forEach((one) => (one.disabled = !live.enabled?.includes(one.textContent.toLowerCase())));
    command.show(text, values);
  }

  const pick = (place) => change({ ...runs[ordered[place]].knobs, run: ordered[place] });
  canvases[1]?.addEventListener("click", ({ clientX }) => {
    const box = canvases[1].getBoundingClientRect();
    const place = Math.floor(((clientX - box.left - STRIP.left) / (box.width - STRIP.left - STRIP.right)) * runs.length);
    pick(Math.min(runs.length - 1, Math.max(0, place)));
  });
  canvases[1]?.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    pick(Math.min(runs.length - 1, Math.max(0, ordered.indexOf(chosen()) + step)));
  });
  const stop = repainted(el, canvases, () => {
    theme = undefined;
    draw();
  });
  draw();
  return {
    show(wanted) {
      values = { ...values, run: -1, ...wanted };
      for (const spec of specs) values[spec.name] = within(spec, values, start);
      if (runs[values.run]) Object.assign(values, runs[values.run].knobs);
      else values.run = -1;
      draw();
    },
    live: (now) => ((live = now), draw()),
    remove: () => (stop(), whole()),
  };
}

function sign([words, colour]) {
  const made = make("span", "", words);
  const swatch = make("span", "dsl-swatch");
  swatch.style.background = colour;
  made.prepend(swatch);
  return made;
}

const tellRun = (run, values) => {
  const knobs = KNOBS.map((name) => `${name} = ${run.knobs[name]}`).join(", ");
  const exact = KNOBS.every((name) => Math.abs(run.knobs[name] - values[name]) < 1e-9);
  return `${run.name || "Stored run"} with ${knobs}${exact ? "" : ", the nearest"}: ${run.told}`;
};

const tellLive = (live) => {
  const shares = CURVES.map(([name, words]) => [words, live.curves[name].at(-1)]).filter(([, share]) => share != null);
  return `${live.state}: ${live.curves.test_accuracy.length} of ${live.epochs} epochs${shares.map(([words, share]) => `; ${words} ${percent(share)}`).join("")}.`;
};

function drawCurves(canvas, runs, run, live, values, upto, theme) {
  const { g, width, height } = sheet(canvas);
  const [left, top, right, bottom] = [46, 14, width - 12, height - 40];
  const lengths = [...runs.map((other) => other.curves.test_accuracy.length), live.epochs ?? 2, live.before?.test_accuracy.length ?? 0];
  const epochs = Math.max(2, ...lengths);
  const x = (epoch) => left + ((epoch - 1) / (epochs - 1)) * (right - left);
  const y = (share) => bottom - share * (bottom - top);
  g.font = `12px ${theme.font}`;
  g.textBaseline = "middle";
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    line(g, left, y(share), right, y(share), theme.faint);
    g.fillStyle = theme.soft;
    g.textAlign = "right";
    g.fillText(`${100 * share} %`, left - 6, y(share));
  }
  g.textAlign = "center";
  const step = Math.max(1, Math.round(epochs / 5));
  for (let epoch = 1; epoch <= epochs; epoch += epoch === 1 && step > 1 ? step - 1 : step) g.fillText(epoch, x(epoch), bottom + 14);
  g.fillText("epoch", (left + right) / 2, bottom + 31);
  const curve = (shares, ink, thick, end = Infinity) => {
    g.strokeStyle = ink;
    g.lineWidth = thick;
    g.beginPath();
    (shares ?? []).forEach((share, at) => share != null && at < end && g.lineTo(x(at + 1), y(share)));
    g.stroke();
  };
  for (const other of runs) curve(other.curves.test_accuracy, theme.faint, 1);
  for (const shares of Object.values(live.before ?? {})) curve(shares, theme.soft, 1);
  const own = live.curves?.test_accuracy.length;
  g.setLineDash(own ? [5, 4] : []);
  if (run) CURVES.forEach(([name], at) => curve(run.curves[name], theme.colours[at], 2, upto));
  g.setLineDash([2, 4]);
  const first = x(values.correction_start + 1);
  if (values.alpha > 0 && values.correction_start < epochs) {
    line(g, first, top, first, bottom, theme.soft);
    haloed(g, "first correction", first + 5, top + 8, theme, first > right - 110 ? "right" : "left", 400);
  }
  g.setLineDash([]);
  if (own) CURVES.forEach(([name], at) => curve(live.curves[name], theme.colours[at], 2.2));
}

/** Every run by its test accuracy, the chosen one as a star. */
function drawStrip(canvas, runs, ordered, chosen, theme) {
  const { g, width, height } = sheet(canvas);
  const [left, top, right, bottom] = [STRIP.left, 14, width - STRIP.right, height - 16];
  const [low, high] = [runs[ordered[0]].accuracy - 0.01, runs[ordered.at(-1)].accuracy + 0.01];
  const x = (place) => left + ((place + 0.5) / ordered.length) * (right - left);
  const y = (share) => bottom - ((share - low) / (high - low)) * (bottom - top);
  g.font = `12px ${theme.font}`;
  g.fillStyle = theme.soft;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const share of [low, (low + high) / 2, high]) g.fillText(percent(share), left - 6, y(share));
  line(g, left, top, left, bottom, theme.soft);
  line(g, left, bottom, right, bottom, theme.soft);
  ordered.forEach((run, place) => disc(g, x(place), y(runs[run].accuracy), 3, theme.soft));
  star(g, x(ordered.indexOf(chosen)), y(runs[chosen].accuracy), 9, theme.colours[0], theme.ink, theme);
}

/** In a notebook: data and values come from the model, and values go back. */
function render({ model, el }) {
  const given = Object.fromEntries(["sets", "runs", "sliders", "values", "command"].map((name) => [name, model.get(name)]));
  let own;
  const say = (values) => {
    own = values;
    model.set("values", values);
    model.save_changes();
  };
  const press = model.get("live")?.enabled && ((name) => model.send({ button: name }));
  const explorer = given.sets ? mount(el, given, say) : mountRuns(el, given, say, press);
  const follow = () => model.get("values") !== own && explorer.show(model.get("values"));
  const grow = () => explorer.live?.(model.get("live") ?? {});
  model.on("change:values", follow);
  model.on("change:live", grow);
  grow();
  return () => (model.off("change:values", follow), model.off("change:live", grow), explorer.remove());
}

/** On a page of its own: data stand in the page, and all values in the part of its address behind #. */
function open(data) {
  const read = () => Object.fromEntries([...new URLSearchParams(location.hash.slice(1))].map(([name, value]) => [name, Number(value)]));
  const given = JSON.parse(data.textContent);
  let waiting;
  const explorer = (given.sets ? mount : mountRuns)(document.getElementById("explorer"), given, (values) => {
    clearTimeout(waiting); // browsers allow some hundred changes of an address in ten seconds
    waiting = setTimeout(() => history.replaceState(null, "", `#${new URLSearchParams(values)}`), 150);
  });
  if (location.hash) explorer.show(read());
  addEventListener("hashchange", () => explorer.show(read()));
}

const inPage = globalThis.document?.getElementById("dsl-explorer-data");
if (inPage) open(inPage);

export default { render };
