"use strict";
// Sends a picture or the camera's frames to the endpoint and draws the faces that come back over them.

const byId = (id) => document.getElementById(id);
const endpoint = document.body.dataset.endpoint;
const mostBytes = Number(document.body.dataset.mostBytes);
const picture = byId("picture");
const video = byId("video");
const frame = byId("frame");

let faces = []; // faces of the picture on display
let seen = { width: 1, height: 1 }; // size of the picture, in whose pixels their boxes are
let chosen = null; // key of the selected face
let asked = 0; // number of pictures sent; a late answer to an earlier one is dropped
let camera = null; // camera's stream while it runs
let analysed = null; // canvas with the camera's frame whose faces are on display

const percent = (share) => `${(100 * share).toFixed(share > 0.0995 ? 0 : 1)} %`;
const keyOf = (face, place) => face.track ?? place + 1;
const count = () => (faces.length === 1 ? "1 face" : `${faces.length} faces`);
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function complain(message) {
  byId("error").textContent = message ?? "";
  byId("error").hidden = !message;
}

/** Says something below the picture; screen readers leave out what a camera's picture changes every second. */
function report(message) {
  byId("status").setAttribute("aria-live", camera ? "off" : "polite");
  byId("status").textContent = message;
}

/** Returns the endpoint's answer; throws an Error with its message, `later` being seconds to wait before a retry. */
async function ask(blob, query = "") {
  let response;
  try {
    response = await fetch(endpoint + query, { method: "POST", body: blob });
  } catch {
    throw new Error("The server cannot be reached, or closed the connection.");
  }
  const said = await response.json().catch(() => ({ error: `The server failed (${response.status}).` }));
  if (response.ok) return said;
  const error = new Error(said.error);
  error.later = Number(response.headers.get("retry-after"));
  throw error;
}

// ---- the prediction for a face

function words(face) {
  const parts = [];
  if (face.age !== null) parts.push(`${face.age.toFixed(0)} years`);
  else if (face.age_group) parts.push(face.age_group.label);
  if (face.gender) parts.push(face.gender.label);
  return parts.join(", ");
}

/** Returns the part of `words` that a small box has room for; the box's colour tells the gender. */
function shortWords(face) {
  if (face.age !== null) return face.age.toFixed(0);
  return face.age_group?.label ?? face.gender?.label ?? "";
}

// Members of a face that have a place of their own on the page.
const PLACED = ["source", "frame", "box", "age", "age_deviation", "age_group", "gender", "track", "smoothing"];

function plain(name, value) {
  if (typeof value === "number") return name.startsWith("probability") ? percent(value) : String(Number(value.toPrecision(3)));
  if (Array.isArray(value)) return value.map((one) => plain(name, one)).join(value.length === 2 ? " to " : ", ");
  if (value.high !== undefined) return `${value.low} to ${value.high} years (${percent(value.level)})`;
  if (typeof value === "object") return Object.entries(value).map(([key, one]) => `${key.replaceAll("_", " ")} ${plain(key, one)}`).join(", ");
  return { true: "yes", false: "no" }[value] ?? value;
}

/** Returns rows for everything else that the answer says of a face. */
function details(face) {
  const rest = Object.entries(face).filter(([name, value]) => !PLACED.includes(name) && value !== null);
  return rest.map(([name, value]) => {
    const head = element("th", { scope: "row", textContent: name.replaceAll("_", " ") });
    return element("tr", {}, head, element("td", { textContent: plain(name, value) }));
  });
}

function bars(title, answer, gender) {
  const table = element("table", { className: "bars" }, element("caption", { textContent: title }));
  const body = table.createTBody();
  for (const [name, share] of Object.entries(answer.probabilities)) {
    const filled = element("i");
    filled.style.width = `${100 * share}%`;
    const bar = element("span", { className: `bar ${gender ? name : ""}` }, filled);
    bar.setAttribute("aria-hidden", "true");
    const row = element("tr", { className: name === answer.label ? "most" : "" });
    const head = element("th", { scope: "row", textContent: name });
    row.append(head, element("td", {}, bar), element("td", { textContent: percent(share) }));
    body.append(row);
  }
  return table;
}

/** Draws the selected face enlarged; nothing if the browser cannot decode the picture, as with TIFF. */
function drawPortrait([x, y, width, height]) {
  const source = camera ? analysed : picture;
  const canvas = byId("portrait");
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  const full = camera ? analysed.width : picture.naturalWidth;
  canvas.hidden = !full;
  if (!full) return;
  const scale = full / seen.width;
  const side = 1.3 * Math.max(width, height);
  const left = x + width / 2 - side / 2;
  const top = y + height / 2 - side / 2;
  context.drawImage(source, left * scale, top * scale, side * scale, side * scale, 0, 0, canvas.width, canvas.height);
}

function showChosen() {
  let place = faces.findIndex((face, k) => keyOf(face, k) === chosen);
  if (place < 0 && faces.length) {
    place = 0;
    chosen = keyOf(faces[0], 0);
  }
  const face = faces[place];
  byId("answer").hidden = !face;
  byId("nobody").hidden = Boolean(face);
  for (const marked of document.querySelectorAll("[data-key]")) {
    const mine = Boolean(face) && Number(marked.dataset.key) === chosen;
    marked.classList.toggle("chosen", mine);
    const button = marked.querySelector("button") ?? marked;
    button.setAttribute("aria-pressed", String(mine));
    if (button === marked) button.tabIndex = mine ? 0 : -1; // arrow keys lead to the other boxes
  }
  if (!face) return;
  byId("which").textContent = face.track ? `Person ${face.track}` : `Face ${place + 1} of ${faces.length}`;
  byId("age").textContent = words(face);
  byId("doubt").textContent = face.age_deviation === null ? "" : `age ± ${face.age_deviation.toFixed(0)} years`;
  const more = details(face);
  byId("more").hidden = !more.length;
  byId("more").tBodies[0].replaceChildren(...more);
  const tables = [];
  if (face.age_group) tables.push(bars("Age group", face.age_group, false));
  if (face.gender) tables.push(bars("Gender", face.gender, true));
  byId("bars").replaceChildren(...tables);
  drawPortrait(face.box);
}

function choose(key) {
  chosen = key;
  showChosen();
}

/** Moves between the boxes, from left to right, by arrow keys. */
function move(event) {
  const steps = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || !faces.length) return;
  event.preventDefault();
  const place = faces.findIndex((face, k) => keyOf(face, k) === chosen) + steps[event.key];
  const next = Math.min(Math.max(place, 0), faces.length - 1);
  choose(keyOf(faces[next], next));
  byId("boxes").querySelector(".chosen").focus();
}

/** Draws the boxes; each stays the same element from frame to frame, which keeps it clickable and focused. */
function drawBoxes() {
  const old = new Map([...byId("boxes").children].map((box) => [Number(box.dataset.key), box]));
  const shown = frame.getBoundingClientRect();
  faces.forEach((face, place) => {
    const key = keyOf(face, place);
    let box = old.get(key);
    if (!box) {
      const label = element("span", {}, element("b", { className: "short" }), element("b", { className: "long" }));
      box = element("button", { type: "button", onclick: () => choose(key) }, label);
      box.dataset.key = key;
      byId("boxes").append(box);
    }
    old.delete(key);
    const [x, y, width, height] = face.box;
    const across = (width / seen.width) * shown.width;
    const classes = ["box", face.gender?.label, across > 150 ? "wide" : across < 34 ? "tiny" : "", key === chosen ? "chosen" : ""];
    box.className = classes.filter(Boolean).join(" ");
    Object.assign(box.style, {
      left: `${(100 * x) / seen.width}%`,
      top: `${(100 * y) / seen.height}%`,
      width: `${(100 * width) / seen.width}%`,
      height: `${(100 * height) / seen.height}%`,
    });
    box.setAttribute("aria-label", `Face ${key}: ${words(face)}`);
    const [short, long] = box.querySelectorAll("b");
    short.textContent = shortWords(face);
    long.textContent = words(face);
    // Below the box if there is room, else above, else inside.
    const room = 24 / shown.height;
    const below = (y + height) / seen.height + room < 1;
    const above = y / seen.height > room;
    const label = box.firstChild;
    label.className = below ? "" : above ? "above" : "inside";
    label.classList.toggle("leftwards", (x / seen.width) * shown.width > shown.width - 170 && x / seen.width > 0.4);
  });
  for (const gone of old.values()) gone.remove();
}

function listFaces() {
  byId("everybody").hidden = faces.length < 2;
  const rows = faces.map((face, place) => {
    const key = keyOf(face, place);
    const button = element("button", { type: "button", textContent: String(key) });
    button.setAttribute("aria-label", `Face ${key}: ${words(face)}`);
    const cell = (answer) => `${answer.label} (${percent(answer.probabilities[answer.label])})`;
    const row = element("tr", { onclick: () => choose(key) }, element("th", { scope: "row" }, button));
    row.append(
      element("td", { textContent: face.age === null ? "–" : face.age.toFixed(0) }),
      element("td", { className: "text", textContent: face.age_group ? cell(face.age_group) : "–" }),
      element("td", { className: "text", textContent: face.gender ? cell(face.gender) : "–" }),
    );
    row.dataset.key = key;
    return row;
  });
  const focused = document.activeElement.closest("#people tr")?.dataset.key;
  byId("people").replaceChildren(...rows);
  if (focused) rows.find((row) => row.dataset.key === focused)?.querySelector("button").focus();
  showChosen();
}

function show(answer) {
  faces = answer.faces;
  seen = answer;
  drawBoxes();
  showChosen();
}

function clear() {
  faces = [];
  chosen = null;
  byId("boxes").replaceChildren();
  listFaces();
  complain(null);
}

function stageShows(what) {
  picture.hidden = what !== picture;
  video.hidden = what !== video;
  frame.hidden = !what;
  byId("empty").hidden = Boolean(what);
  byId("drop").classList.toggle("filled", Boolean(what));
}

// ---- a picture

function displayed(blob) {
  return new Promise((done) => {
    if (picture.src) URL.revokeObjectURL(picture.src);
    picture.onload = () => done(true);
    picture.onerror = () => done(false);
    picture.src = URL.createObjectURL(blob);
  });
}

async function look(blob) {
  await stopCamera();
  const number = ++asked;
  clear();
  stageShows(null);
  if (blob.size > mostBytes) {
    report("");
    complain(`Too large: a picture may have ${mostBytes / 1e6} megabytes; this one has ${(blob.size / 1e6).toFixed(1)}.`);
    return;
  }
  report("Analysing …");
  try {
    const [answer, visible] = await Promise.all([ask(blob), displayed(blob)]);
    if (number !== asked) return;
    picture.classList.toggle("unseen", !visible);
    picture.style.aspectRatio = `${answer.width} / ${answer.height}`;
    stageShows(picture);
    show(answer);
    listFaces();
    const hint = faces.length === 1 ? words(faces[0]) : "Select one to see its probabilities";
    report(faces.length ? `${count()}, ${answer.seconds.toFixed(2)} s. ${hint}.` : "");
    if (!faces.length) complain("No face was found in this picture.");
  } catch (error) {
    if (number !== asked) return;
    report("");
    complain(error.message);
  }
}

// ---- the camera

/** Returns a frame of the video as a JPEG, at most so many pixels wide and high. */
function snapshot(canvas, most, quality) {
  const scale = Math.min(1, most / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
}

/** Sends frames one after another while the camera runs; two of these alternate to keep the server busy. */
async function follow(stream, name, rate) {
  while (camera === stream) {
    if (document.hidden) {
      await wait(0.3);
      continue;
    }
    const number = ++rate.sent;
    const canvas = document.createElement("canvas");
    try {
      const blob = await snapshot(canvas, 640, 0.8);
      if (!blob) {
        await wait(0.1);
        continue;
      }
      const answer = await ask(blob, `?stream=${name}`);
      if (camera !== stream) return;
      rate.answered.push(performance.now());
      // The other loop's newer frame may have been answered already.
      if (number < rate.shown) continue;
      rate.shown = number;
      complain(null);
      analysed = canvas;
      show(answer);
    } catch (error) {
      if (camera !== stream) return;
      complain(error.message);
      await wait(error.later || 1);
    }
  }
}

function tellRate(stream, rate) {
  const timer = setInterval(() => {
    if (camera !== stream) return clearInterval(timer);
    const now = performance.now();
    rate.answered = rate.answered.filter((when) => now - when < 2000);
    report(`${(rate.answered.length / 2).toFixed(0)} frames per second, ${count()}`);
    listFaces();
  }, 1000);
}

/** Shows the camera's controls while it runs; a focus on one that goes moves to one that comes. */
function swapControls(running) {
  const focused = ["camera", "shoot", "stop"].includes(document.activeElement?.id);
  for (const id of ["shoot", "stop"]) byId(id).hidden = !running;
  byId("camera").hidden = running;
  if (focused) byId(running ? "stop" : "camera").focus();
}

async function startCamera() {
  complain(null);
  if (!navigator.mediaDevices) {
    complain("Browsers allow the camera on localhost and HTTPS pages only.");
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
  } catch (error) {
    complain(error.name === "NotAllowedError" ? "Permission to use the camera was denied." : "No camera is available.");
    return;
  }
  asked += 1;
  clear();
  report("The camera is on.");
  camera = stream;
  stream.getVideoTracks()[0].onended = stopCamera; // unplugged, or its permission withdrawn
  video.srcObject = stream;
  await video.play();
  stageShows(video);
  swapControls(true);
  const name = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const rate = { sent: 0, shown: 0, answered: [] };
  tellRate(stream, rate);
  for (let k = 0; k < 2; k += 1) follow(stream, name, rate);
}

async function stopCamera() {
  if (!camera) return;
  for (const track of camera.getTracks()) track.stop();
  camera = null;
  video.srcObject = null;
  swapControls(false);
  clear();
  stageShows(null);
  report("");
}

async function shoot() {
  const blob = await snapshot(document.createElement("canvas"), 4096, 0.95);
  if (blob) await look(blob);
}

// ---- controls

byId("choose").onclick = () => byId("file").click();
byId("file").onchange = (event) => {
  const [file] = event.target.files;
  event.target.value = ""; // allows the same file to be chosen again
  if (file) look(file);
};
byId("camera").onclick = startCamera;
byId("stop").onclick = stopCamera;
byId("shoot").onclick = shoot;
byId("boxes").onkeydown = move;
for (const button of document.querySelectorAll("[data-example]")) {
  button.onclick = async () => {
    try {
      look(await (await fetch(button.dataset.example)).blob());
      byId("drop").scrollIntoView({ block: "nearest" });
    } catch {
      complain("The server cannot be reached.");
    }
  };
}
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData?.files ?? [];
  if (file) look(file);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  byId("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) byId("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) look(file);
});
new ResizeObserver(() => faces.length && drawBoxes()).observe(frame);
const address = new URL(endpoint, location.href);
for (const sample of document.querySelectorAll(".sample")) {
  sample.textContent = sample.textContent.replaceAll(document.body.dataset.address, address);
}
