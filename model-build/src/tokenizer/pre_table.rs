//! The pre-tokenizers that `tokenizer.ggml.pre` can name: for each id the steps that a
//! `tokenizer.json` has for it, and the regular expressions that llama.cpp runs.
//!
//! Sources: the switches over pre-tokenizer types in llama.cpp's `src/llama-vocab.cpp` (which
//! expressions an id runs, its flags), and the `pre_tokenizer` of the models the ids are named for.
//! An entry is chosen by its steps; where several ids have the same steps, the conditions (`nfc`,
//! `ignore_merges`, `roberta`, `model_types`) choose, and the first entry without conditions is the
//! canonical one. [`ALIASES`] has the other ids, which run what their entry runs.

/// How an id splits text.
pub(super) struct PreDef {
    /// The value of `tokenizer.ggml.pre`.
    pub(super) id: &'static str,
    /// The steps of `tokenizer.json` in the canonical spelling of `pre::steps`.
    pub(super) steps: &'static [&'static str],
    /// What llama.cpp runs, where it is not the steps.
    #[cfg_attr(not(feature = "tokenizers"), allow(dead_code))] // conformance runs it
    pub(super) run: &'static [&'static str],
    /// Whether the models have the normalizer NFC, which llama.cpp does without.
    pub(super) nfc: bool,
    /// Whether llama.cpp looks a whole word up before it merges.
    pub(super) ignore_merges: bool,
    /// Whether llama.cpp puts the begin token in front unless told not to.
    pub(super) adds_bos: bool,
    /// Chosen only for a post-processor of RoBERTa's form.
    pub(super) roberta: bool,
    /// Chosen before others for these `model_type`s, and only for them.
    pub(super) model_types: &'static [&'static str],
}

/// GPT-2's expression, which the byte-level step runs by itself.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// The step `Punctuation` whose neighbours stay together.
pub(super) const PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";
/// The step `Punctuation` that isolates each character.
pub(super) const PUNCTUATION_ISOLATED: &str = r"[\p{P}!-/:-@\[-`{-~]";
/// The step `Digits` with `individual_digits`.
pub(super) const DIGIT: &str = r"\p{N}";
/// The step `Digits` without `individual_digits`.
pub(super) const DIGITS: &str = r"\p{N}+";

const DIGITS_3: &str = r"\p{N}{1,3}";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const MINICPM5: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const JAIS2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}";
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
const UFAKZEKA: &str =
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const BAILING_RUN: &str = r"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN_RUN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O_RUN: &str = r"[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))*((?=[\p{L}])([^A-Z]))+(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|[^\r\n\p{L}\p{N}]?((?=[\p{L}])([^a-z]))+((?=[\p{L}])([^A-Z]))*(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const KIMI_K2: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
const BLOOM_RUN: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
const NEWLINE: &str = r"[\r\n]";
const CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const CJK_KANA: &str = "[一-龥぀-ゟ゠-ヿ]+";
const DEEPSEEK_LETTERS: &str = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-~！-／：-～‘-‟　-。]+";
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
const SPARK: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"##;
const YOUTU_SCRIPTS: &str = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+";
const YOUTU: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const YOUTU_RUN: &str = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]*[\p{L}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+[\p{L}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const AYA_RUN: &str = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]*[\p{L}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+[\p{L}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const AYA_DIGITS_RUN: &str = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))";
const KIMI_K2_RUN: &str = r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const PLAIN: PreDef = PreDef {
    id: "",
    steps: &[],
    run: &[],
    nfc: false,
    ignore_merges: false,
    adds_bos: false,
    roberta: false,
    model_types: &[],
};

/// Every id that can be chosen.
pub(super) const TABLE: &[PreDef] = &[
    PreDef { id: "gpt-2", steps: &[GPT2], ..PLAIN },
    PreDef { id: "olmo", steps: &[GPT2], nfc: true, ..PLAIN },
    PreDef { id: "roberta-bpe", steps: &[GPT2], roberta: true, ..PLAIN },
    PreDef {
        id: "default",
        steps: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, DIGITS, "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    PreDef { id: "starcoder", steps: &[DIGIT, GPT2], ..PLAIN },
    PreDef { id: "command-r", steps: &[DIGIT, GPT2], nfc: true, ..PLAIN },
    PreDef { id: "smollm", steps: &[DIGIT, GPT2], model_types: &["llama"], ..PLAIN },
    PreDef { id: "exaone", steps: &[DIGIT, GPT2], model_types: &["exaone"], ..PLAIN },
    PreDef {
        id: "falcon",
        steps: &[PUNCTUATION, GPT2, DIGITS, "[0-9][0-9][0-9]"],
        run: &[PUNCTUATION, GPT2, "[0-9][0-9][0-9]"],
        ..PLAIN
    },
    PreDef { id: "falcon", steps: &[PUNCTUATION, GPT2, "[0-9][0-9][0-9]"], ..PLAIN },
    PreDef { id: "llama-bpe", steps: &[LLAMA3], ignore_merges: true, adds_bos: true, ..PLAIN },
    PreDef { id: "dbrx", steps: &[LLAMA3], ..PLAIN },
    PreDef { id: "chatglm-bpe", steps: &[LLAMA3], model_types: &["chatglm"], ..PLAIN },
    PreDef {
        id: "glm4",
        steps: &[LLAMA3],
        ignore_merges: true,
        model_types: &["glm", "glm4", "glm4_moe", "glm4_moe_lite", "glm4v", "glm4v_moe"],
        ..PLAIN
    },
    PreDef { id: "jais-2", steps: &[JAIS2], ..PLAIN },
    PreDef { id: "qwen2", steps: &[QWEN2], nfc: true, ..PLAIN },
    PreDef { id: "stablelm2", steps: &[QWEN2], model_types: &["stablelm"], ..PLAIN },
    PreDef { id: "hunyuan", steps: &[QWEN2], model_types: &["hunyuan_v1_moe"], ..PLAIN },
    PreDef { id: "solar-open", steps: &[QWEN2], model_types: &["solar_open"], ..PLAIN },
    PreDef { id: "grok-2", steps: &[QWEN2], model_types: &["grok", "grok-1", "grok2"], ..PLAIN },
    PreDef { id: "qwen35", steps: &[QWEN35], nfc: true, ..PLAIN },
    PreDef { id: "minicpm5", steps: &[DIGITS_3, MINICPM5], ignore_merges: true, ..PLAIN },
    PreDef { id: "seed-coder", steps: &[SEED_CODER], ..PLAIN },
    PreDef { id: "ufakzeka", steps: &[UFAKZEKA], ..PLAIN },
    PreDef { id: "exaone-moe", steps: &[EXAONE_MOE], ..PLAIN },
    PreDef { id: "bailingmoe", steps: &[BAILING], run: &[BAILING_RUN], ..PLAIN },
    PreDef {
        id: "tekken",
        steps: &[TEKKEN],
        run: &[TEKKEN_RUN],
        ignore_merges: true,
        adds_bos: true,
        ..PLAIN
    },
    PreDef { id: "gpt-4o", steps: &[GPT4O], run: &[GPT4O_RUN], ..PLAIN },
    PreDef {
        id: "llama4",
        steps: &[GPT4O],
        run: &[GPT4O_RUN],
        model_types: &["llama4", "llama4_text"],
        ..PLAIN
    },
    PreDef {
        id: "minimax-m2",
        steps: &[GPT4O],
        run: &[GPT4O_RUN],
        model_types: &["minimax_m2", "minimax"],
        ..PLAIN
    },
    PreDef {
        id: "tiny_aya",
        steps: &[r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
        run: &[AYA_DIGITS_RUN, AYA_RUN],
        ..PLAIN
    },
    PreDef { id: "kimi-k2", steps: &[KIMI_K2], run: &[KIMI_K2_RUN], ..PLAIN },
    PreDef { id: "bloom", steps: &[BLOOM], run: &[BLOOM_RUN], ..PLAIN },
    PreDef { id: "viking", steps: &[BLOOM, DIGIT], run: &[BLOOM_RUN, DIGIT], ..PLAIN },
    PreDef {
        id: "deepseek-llm",
        steps: &[NEWLINE, DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK, DIGITS],
        ..PLAIN
    },
    PreDef {
        id: "deepseek-llm",
        steps: &[NEWLINE, DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK, DIGIT],
        run: &[NEWLINE, DEEPSEEK_LETTERS, DEEPSEEK_PUNCTUATION, r"\s+$", CJK, DIGITS],
        ..PLAIN
    },
    PreDef {
        id: "deepseek-coder",
        steps: &[NEWLINE, r"\s?\p{L}+", r"\s?\p{P}+", CJK, DIGIT],
        ..PLAIN
    },
    PreDef { id: "deepseek-v3", steps: &[DIGITS_3, CJK_KANA, DEEPSEEK3], ..PLAIN },
    PreDef { id: "spark2_5", steps: &[DIGITS_3, CJK_KANA, SPARK, DIGIT], ..PLAIN },
    PreDef {
        id: "youtu",
        steps: &[YOUTU_SCRIPTS, YOUTU],
        run: &[YOUTU_SCRIPTS, YOUTU_RUN],
        ignore_merges: true,
        ..PLAIN
    },
    PreDef { id: "superbpe", steps: &[DIGITS, r"(?=(\d{3})+(?!\d))"], ..PLAIN },
    PreDef { id: "laguna", steps: &[r"[^\n]+|[\n]+", QWEN2], ..PLAIN },
    PreDef {
        id: "chameleon",
        steps: &[
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            DIGIT,
            PUNCTUATION_ISOLATED,
            GPT2,
        ],
        adds_bos: true,
        ..PLAIN
    },
];

/// Ids that are never chosen, each with the chosen one that runs the same expressions.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("a.x-4.0", "gpt-2"),
    ("bailingmoe2", "bailingmoe"),
    ("codeshell", "starcoder"),
    ("cohere2moe", "tiny_aya"),
    ("deepseek-r1-qwen", "qwen2"),
    ("exaone4", "gpt-2"),
    ("f2llmv2", "qwen2"),
    ("falcon-h1", "llama-bpe"),
    ("falcon3", "llama-bpe"),
    ("gigachat", "gpt-2"),
    ("glm5", "glm4"),
    ("gpt3-finnish", "bloom"),
    ("granite-docling", "gpt-2"),
    ("hunyuan-dense", "deepseek-v3"),
    ("hy_v4", "deepseek-v3"),
    ("jais", "gpt-2"),
    ("jina-de", "gpt-2"),
    ("jina-es", "gpt-2"),
    ("jina-v1-en", "roberta-bpe"),
    ("jina-v2-code", "roberta-bpe"),
    ("jina-v2-de", "gpt-2"),
    ("jina-v2-es", "gpt-2"),
    ("jina-v5-nano", "llama-bpe"),
    ("joyai-llm", "deepseek-v3"),
    ("kanana2", "gpt-4o"),
    ("kormo", "qwen2"),
    ("lfm2", "llama-bpe"),
    ("llada-moe", "bailingmoe"),
    ("llama-v3", "llama-bpe"),
    ("llama3", "llama-bpe"),
    ("megrez", "qwen2"),
    ("mellum", "gpt-2"),
    ("mellum2", "starcoder"),
    ("midm-2.0", "llama-bpe"),
    ("minerva-7b", "starcoder"),
    ("modern-bert", "olmo"),
    ("mpt", "olmo"),
    ("phi-2", "gpt-2"),
    ("pixtral", "llama-bpe"),
    ("poro-chat", "bloom"),
    ("refact", "starcoder"),
    ("smaug-bpe", "dbrx"),
    ("talkie", "gpt-4o"),
    ("trillion", "gpt-2"),
];

/// Ids of llama.cpp whose steps in a `tokenizer.json` stand in no table here: they can be named in
/// the manifest, and are neither chosen nor unpacked.
pub(super) const NAMED_ONLY: &[&str] = &[
    "afmoe",
    "gemma4",
    "granite-embed-multi-311m",
    "granite-embed-multi-97m",
    "sarvam-moe",
    "whitespace",
];

/// Ids that the converter writes for WordPiece, where llama.cpp reads none.
pub(super) const WORD_PIECE: &[&str] = &["jina-v2-en", "bert-bge", "bert-bge-large", "default"];
