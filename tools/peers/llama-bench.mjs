// The newest llama.cpp, as its Node binding ships it, timed on a GGUF file: the peer to measure Rondo against.
//
//     cd FOLDER && node PATH/llama-bench.mjs MODEL.gguf [threads=2] [n_prompt=512] [n_gen=64] [rounds=3]
//
// FOLDER is where its package is installed; README.md beside this file says how. It prints one JSON line: medians in
// tokens per second. With "-" for rounds it prints a line when it has warmed up, and then one for a round whenever a
// line comes on standard input, so that its rounds can take turns with somebody else's. The binding's overhead is well
// under 1 % on models of 1B and more.
import {createInterface} from "node:readline";
import {createRequire} from "node:module";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [modelPath, threadsArg = "2", promptArg = "512", genArg = "64", roundsArg = "3"] = process.argv.slice(2);
const threads = +threadsArg, nPrompt = +promptArg, nGen = +genArg;
if (!modelPath || !(threads >= 1) || !(nPrompt >= 0) || !(nGen >= 0) || !(roundsArg === "-" || +roundsArg >= 1)) {
    console.error("wanted: llama-bench.mjs MODEL.gguf [threads] [n_prompt] [n_gen] [rounds or -]");
    process.exit(2);
}

async function binding() {
    const require = createRequire(join(process.cwd(), "x.js"));
    try {
        return await import(pathToFileURL(require.resolve("node-llama-cpp")).href);
    } catch (resolving) { // a package for import alone cannot be resolved that way
        const entry = join(process.cwd(), "node_modules/node-llama-cpp/dist/index.js");
        return await import(pathToFileURL(entry).href).catch(() => {
            console.error(`llama-bench.mjs: no node-llama-cpp in ${process.cwd()}: ${resolving.message.split("\n")[0]}`);
            process.exit(1);
        });
    }
}

const {getLlama} = await binding();
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: "error"});
const model = await llama.loadModel({modelPath, useMmap: true});
const context = await model.createContext({
    contextSize: Math.max(512, nPrompt + nGen + 32), batchSize: Math.max(512, nPrompt), threads});
const sequence = context.getSequence();
const nVocab = [...model.iterateAllTokens()].length;
const randomTokens = n => Array.from({length: n}, (_, i) => 10 + (i * 7919 + 13) % Math.max(1, Math.min(nVocab, 30000) - 20));
const median = a => [...a].sort((x, y) => x - y)[a.length >> 1];
const say = rates => console.log(JSON.stringify({
    peer: "llama.cpp", release: llama.llamaCppRelease?.release, threads, pp: nPrompt, tg: nGen, ...rates}));
const rounded = x => x == null ? null : +x.toFixed(2);

// Tokens per second of one prompt and of one answer, each from an empty cache.
async function round() {
    const rates = {};
    if (nPrompt) {
        await sequence.clearHistory();
        const start = performance.now();
        await sequence.evaluateWithoutGeneratingNewTokens(randomTokens(nPrompt));
        rates.pp_tok_s = rounded(nPrompt / (performance.now() - start) * 1000);
    }
    if (nGen) {
        await sequence.clearHistory();
        let n = 0, start = 0;
        for await (const _ of sequence.evaluate(randomTokens(4), {temperature: 0, yieldEogToken: true})) {
            if (n++ === 0)
                start = performance.now();
            if (n > nGen)
                break;
        }
        rates.tg_tok_s = rounded((n - 1) / (performance.now() - start) * 1000);
    }
    return rates;
}

await round(); // to warm up
if (roundsArg === "-") {
    say({});
    for await (const _ of createInterface({input: process.stdin}))
        say(await round());
} else {
    const rates = [];
    for (let i = 0; i < +roundsArg; i++)
        rates.push(await round());
    say({pp_tok_s: nPrompt ? median(rates.map(r => r.pp_tok_s)) : null, tg_tok_s: nGen ? median(rates.map(r => r.tg_tok_s)) : null});
}
process.exit(0);
