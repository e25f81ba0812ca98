// ONNX Runtime as a peer of bench_engine: node peer_onnx.mjs FOLDER MODEL THREADS.
//
// FOLDER has node_modules/onnxruntime-node.  Commands come on standard input, one a line, answers go to standard output:
//   load PATH        texts: int32 number, then int32 length and as many ids for each; finds the fastest batch; answers "batch N"
//   run TIMES        embeds all of them TIMES times; answers "P50 P99 CPU" in seconds
//   write PATH       their embeddings, float32, in the texts' order; answers "ok"
// Batches are of texts sorted by length, so that there is little padding; 1, 4, 16 and 32 texts are tried, and the fastest stays.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const [folder, model, threads] = process.argv.slice(2);
const ort = createRequire(`${folder}/`)('onnxruntime-node');
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: Number(threads), interOpNumThreads: 1, executionMode: 'sequential', graphOptimizationLevel: 'all',
});
let texts = [], batches = [], width = 0;

function cut(size) {
  const order = texts.map((_, i) => i).sort((a, b) => texts[a].length - texts[b].length);
  const out = [];
  for (let i = 0; i < order.length; i += size) {
    const members = order.slice(i, i + size);
    const longest = texts[members[members.length - 1]].length;
    const ids = new Int32Array(members.length * longest), mask = new Int32Array(members.length * longest);
    members.forEach((t, row) => {
      ids.set(texts[t], row * longest);
      mask.fill(1, row * longest, row * longest + texts[t].length);
    });
    const dims = [members.length, longest];
    out.push({ members, feeds: { ids: new ort.Tensor('int32', ids, dims), mask: new ort.Tensor('int32', mask, dims) } });
  }
  return out;
}

async function pass(keep) {
  for (const batch of batches) {
    const { embedding } = await session.run(batch.feeds);
    width = embedding.dims[1];
    if (keep) batch.members.forEach((t, row) => keep.set(embedding.data.subarray(row * width, (row + 1) * width), t * width));
  }
}

async function time() {
  const cpu = process.cpuUsage(), start = process.hrtime.bigint();
  await pass(null);
  const wall = Number(process.hrtime.bigint() - start) / 1e9, used = process.cpuUsage(cpu);
  return [wall, (used.user + used.system) / 1e6];
}

async function load(path) {
  const data = readFileSync(path), all = new Int32Array(data.buffer, data.byteOffset, data.length / 4);
  texts = [];
  for (let i = 0, at = 1; i < all[0]; at += 1 + all[at], i++) texts.push(all.slice(at + 1, at + 1 + all[at]));
  let best = Infinity, chosen = 1;
  for (const size of [1, 4, 16, 32].filter((n) => n <= texts.length)) {
    batches = cut(size);
    await pass(null);
    const [, cpu] = await time();
    if (cpu < best) [best, chosen] = [cpu, size];
  }
  batches = cut(chosen);
  return `batch ${chosen}`;
}

async function run(times) {
  const walls = [], cpus = [];
  for (let i = 0; i < times; i++) {
    const [wall, cpu] = await time();
    walls.push(wall);
    cpus.push(cpu);
  }
  walls.sort((a, b) => a - b);
  cpus.sort((a, b) => a - b);
  const middle = Math.floor(times / 2);
  return `${walls[middle]} ${walls[Math.floor(times * 99 / 100)]} ${cpus[middle]}`;
}

async function write(path) {
  await pass(null);
  const out = new Float32Array(texts.length * width);
  await pass(out);
  writeFileSync(path, Buffer.from(out.buffer));
  return 'ok';
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument] = line.split(' ');
  console.log(await { load, run: (n) => run(Number(n)), write }[command](argument));
}
