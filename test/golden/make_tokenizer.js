// The bundled model's figures anew, from the reference tokenizer: what test/golden/tokenizer/README.md describes.
//
//     npm install @anush008/tokenizers@0.6.0        somewhere that NODE_PATH names
//     node test/golden/make_tokenizer.js VOCAB_TXT FROM.json TO.json
//
// Texts, pairs and lengths are those of FROM.json; ids, types, offsets, decoded and count are the reference's.
"use strict";
const fs = require("fs");
const { Tokenizer } = require("@anush008/tokenizers");

const [vocabulary, from, to] = process.argv.slice(2);
const SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const vocab = {};
fs.readFileSync(vocabulary, "utf8").split("\n").forEach((word, i, all) => {
	if (i + 1 < all.length || word !== "") vocab[word] = i;
});

function tokenizer(max) {
	return Tokenizer.fromString(JSON.stringify({
		version: "1.0",
		truncation: max === undefined ? null : { max_length: max, strategy: "LongestFirst", stride: 0, direction: "Right" },
		padding: null,
		added_tokens: SPECIALS.map((content) => ({ id: vocab[content], content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
		normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
		pre_tokenizer: { type: "BertPreTokenizer" },
		post_processor: { type: "BertProcessing", sep: ["[SEP]", vocab["[SEP]"]], cls: ["[CLS]", vocab["[CLS]"]] },
		decoder: { type: "WordPiece", prefix: "##", cleanup: true },
		model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", max_input_chars_per_word: 100, vocab }
	}));
}

// Characters (code points) to bytes.
function byteAt(text) {
	const at = [0];
	for (const c of text) at.push(at[at.length - 1] + Buffer.byteLength(c));
	return at;
}

async function main() {
	const whole = tokenizer();
	const cases = [];
	for (const c of JSON.parse(fs.readFileSync(from, "utf8")).cases) {
		const e = await tokenizer(c.max).encode(c.text, c.pair ?? null);
		const full = await whole.encode(c.text, c.pair ?? null);
		const ids = e.getIds(), sequence = e.getSequenceIds();
		const bytes = [byteAt(c.text), byteAt(c.pair ?? "")];
		const out = { text: c.text };
		if (c.pair !== undefined) out.pair = c.pair;
		if (c.max !== undefined) out.max = c.max;
		out.ids = ids;
		out.types = e.getTypeIds();
		out.offsets = e.getOffsets().flatMap(([a, b], i) => sequence[i] == null ? [-1, -1] : [bytes[sequence[i]][a], bytes[sequence[i]][b]]);
		out.decoded = await whole.decode(ids, true);
		if (c.count !== undefined) out.count = full.getLength();
		cases.push(out);
	}
	fs.writeFileSync(to, `{"vocab":${JSON.stringify(vocabulary)},"cases":[\n${cases.map((c) => JSON.stringify(c)).join(",\n")}\n]}\n`);
}
main();
