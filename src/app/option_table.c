// The table of all options of all verbs: see options.h.
#include "app/options.h"

#include "app/bench.h"
#include "app/conversation.h"
#include "backend/backend.h"
#include "base/log.h"
#include "base/pool.h"
#include "hub/fetch.h"
#include "hub/synthesis.h"
#include "kernels/kernels.h"
#include "model/batch.h"
#include "plan/windows.h"
#include "ring/hop_bench.h"
#include "ring/messages.h"
#include "weights/weights.h"

// In the order of their enums, or looked up by name.
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const kv_types[] = {"f32", "f16", "q8_0", NULL};
static const char *const pins[] = {"off", "auto", "on", NULL};
static const char *const scorings[] = {"every", "half", NULL};
static const char *const outputs[] = {"table", "md", "csv", "json", NULL};
static const char *const wires[] = {"f32", "f16", NULL};
static const char *const isas[] = {"scalar", "avx2", "avx512", "neon", "i8mm", "auto", NULL};
static const char *const thinking[] = {"auto", "on", "off", "low", "medium", "high", NULL};
static const char *const layouts[] = {"auto", "rows", "lanes", NULL};
static const char *const residencies[] = {"auto", "direct", "mmap", NULL};
static const char *const shapes[] = {"1b",  "3b",  "8b",  "14b",     "30b", "32b",
                                     "65b", "70b", "72b", "30b-a3b", NULL};
static const char *const objectives[] = {"answer", "latency", "first", "throughput", NULL};
static const char *const archs[] = {"llama", "qwen2", "qwen3moe", NULL};
static const char *const tokenizers[] = {"bpe", "spm", NULL};
_Static_assert(LOG_DEBUG + 2 == sizeof log_levels / sizeof *log_levels, "log levels");
_Static_assert(KV_TYPE_COUNT + 1 == sizeof kv_types / sizeof *kv_types, "types of the KV cache");
_Static_assert(SYNTHESIS_QWEN3MOE + 2 == sizeof archs / sizeof *archs, "architectures");
_Static_assert(SYNTHESIS_SPM + 2 == sizeof tokenizers / sizeof *tokenizers, "tokenizers");
_Static_assert(BENCH_OUTPUT_COUNT + 1 == sizeof outputs / sizeof *outputs, "outputs of a bench");
_Static_assert(WIRE_ACTIVATION_COUNT + 1 == sizeof wires / sizeof *wires, "activations");
_Static_assert(WEIGHTS_LANES + 2 == sizeof layouts / sizeof *layouts, "layouts");
_Static_assert(RESIDENCY_COUNT + 1 == sizeof residencies / sizeof *residencies, "residencies");
_Static_assert(THINK_COUNT + 1 == sizeof thinking / sizeof *thinking, "how much is thought");
_Static_assert(PIN_ON + 2 == sizeof pins / sizeof *pins, "pins");
_Static_assert(ISA_COUNT + 2 == sizeof isas / sizeof *isas, "instruction sets");

const struct option_spec option_table[OPT_COUNT] = {
    [OPT_HELP] = {"help", 'h', OPTION_FLAG, .help = "show this help"},
    [OPT_VERSION] = {"version", 'V', OPTION_FLAG, .help = "show the version"},
    [OPT_LOG_LEVEL] = {"log-level", 0, OPTION_ENUM, .names = log_levels,
                       .help = "what is told on standard error"},
    [OPT_JSON] = {"json", 0, OPTION_FLAG, .help = "print JSON"},

    [OPT_THREADS] = {"threads", 't', OPTION_INT, .value = "N", .max = POOL_MAX_THREADS,
                     .help = "compute threads; 0: one for each core of this machine"},
    [OPT_PIN] = {"pin", 0, OPTION_ENUM, .names = pins,
                 .help = "keep each thread on a processor of its own; auto: where hyper-threads or "
                         "slow cores are left over"},
    [OPT_ISA] = {"isa", 0, OPTION_ENUM, .names = isas,
                 .help = "instruction set of the kernels; auto: the best of this machine"},
    [OPT_LAYOUT] = {"layout", 0, OPTION_ENUM, .names = layouts,
                    .help = "how weights lie in memory: rows, as in the file; lanes, turned for "
                            "speed; auto: lanes where memory allows"},
    [OPT_MEMORY] = {"memory", 0, OPTION_STRING, .value = "SIZE|PERCENT|auto",
                    .help =
                        "memory that this machine gives for weights, cache and computing, as 6G "
                        "or 50%; weights that do not fit are read from disk again for each "
                        "token; auto: what is free, less a reserve"},
    [OPT_RESIDENCY] = {"residency", 0, OPTION_ENUM, .names = residencies,
                       .help = "how weights are kept: direct, in memory of our own and read past "
                               "the page cache; mmap, mapped, and the system decides; auto: mapped "
                               "where all fit, else direct"},
    [OPT_KV] = {"kv", 0, OPTION_ENUM, .names = kv_types,
                .help = "type of the key-value cache; q8_0: half the memory of f16"},
    [OPT_CTX] = {"ctx", 'c', OPTION_INT, .value = "N", .max = 1 << 20,
                 .help = "tokens of context; 0: as many as the model was trained for, at most "
                         "4096"},
    [OPT_BATCH] = {"batch", 'b', OPTION_INT, .value = "N", .min = 1, .max = BATCH_MAX_TOKENS,
                   .help = "tokens of a prompt that are computed together"},

    [OPT_TOKENS] = {"tokens", 'n', OPTION_INT, .value = "N", .max = 1 << 30,
                    .help = "generate N tokens at most"},
    [OPT_RAW] = {"raw", 0, OPTION_FLAG, .help = "continue the prompt as it is, as plain text"},
    [OPT_SYSTEM] = {"system", 's', OPTION_STRING, .value = "TEXT",
                    .help = "system message in front of the prompt"},
    [OPT_CHAT_TEMPLATE] = {"chat-template", 0, OPTION_STRING, .value = "NAME|FILE",
                           .help = "instead of the model's own chat template: a file in Jinja, or "
                                   "a built-in one: chatml, deepseek, gemma, granite, harmony, "
                                   "llama2, llama3, mistral, phi3, phi4, vicuna, zephyr"},
    [OPT_TEMP] = {"temp", 0, OPTION_FLOAT, .value = "T", .max = 100,
                  .help = "temperature; 0: always the most probable token"},
    [OPT_TOP_K] = {"top-k", 0, OPTION_INT, .value = "K", .max = 1 << 30,
                   .help = "draw from the K best tokens; 0: from all"},
    [OPT_TOP_P] = {"top-p", 0, OPTION_FLOAT, .value = "P", .max = 1,
                   .help = "draw from the best tokens that together have probability P"},
    [OPT_MIN_P] = {"min-p", 0, OPTION_FLOAT, .value = "P", .max = 1,
                   .help = "leave out tokens less probable than P times the best"},
    [OPT_REPEAT_PENALTY] = {"repeat-penalty", 0, OPTION_FLOAT, .value = "R", .min = 0.01,
                            .max = 100, .help = "make tokens of the last 64 less likely; 1: off"},
    [OPT_SEED] = {"seed", 0, OPTION_INT, .value = "N", .max = 9007199254740992.0,
                  .help = "seed of the dice; without it each run has its own"},
    [OPT_THINK] = {"think", 0, OPTION_ENUM, .names = thinking,
                   .help = "whether the model thinks before it answers, or how much, where it lets "
                           "itself be told"},
    [OPT_SESSION] = {"session", 0, OPTION_STRING, .value = "FILE",
                     .help = "go on with the conversation in FILE, if it is there, and keep it "
                             "there"},
    [OPT_CTX_SHIFT] = {"ctx-shift", 0, OPTION_FLAG,
                       .help = "when the context is full, forget the oldest turns without asking"},
    [OPT_AGAIN] = {"again", 0, OPTION_FLAG, .help = "measure, whatever was found before"},
    [OPT_VERBOSE] = {"verbose", 'v', OPTION_FLAG, .help = "tell the times of each answer"},

    [OPT_FULL] = {"full", 0, OPTION_FLAG, .help = "every tensor and every value in full length"},
    [OPT_WINDOW] = {"window", 0, OPTION_STRING, .value = "FIRST-LAST",
                    .help = "only these layers, as a worker needs them"},
    [OPT_SLICE_LAYERS] = {"layers", 0, OPTION_STRING, .value = "FIRST-LAST,..",
                          .help = "layers that the slice gets, as in 8-15 or 0-3,16-19"},
    [OPT_ENDS] = {"ends", 0, OPTION_FLAG,
                  .help = "embedding and output matrix too, as the head needs them"},
    [OPT_SHAPE] = {"shape", 0, OPTION_ENUM, .names = shapes,
                   .help = "what is not said otherwise is as in a model of this size"},
    [OPT_ARCH] = {"arch", 0, OPTION_ENUM, .names = archs, .help = "architecture"},
    [OPT_TYPE] = {"type", 0, OPTION_STRING, .value = "FORMAT",
                  .help = "weight format; which there are is said above"},
    [OPT_TOKENIZER] = {"tokenizer", 0, OPTION_ENUM, .names = tokenizers,
                       .help = "kind of the vocabulary"},
    [OPT_MODEL_LAYERS] = {"layers", 0, OPTION_INT, .value = "N", .min = 1,
                          .max = SYNTHESIS_MAX_LAYERS, .help = "layers"},
    [OPT_EMBD] = {"embd", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_WIDTH,
                  .help = "width of the hidden state"},
    [OPT_HEADS] = {"heads", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_HEADS,
                   .help = "attention heads"},
    [OPT_KV_HEADS] = {"kv-heads", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_HEADS,
                      .help = "heads of keys and values"},
    [OPT_HEAD_DIM] = {"head-dim", 0, OPTION_INT, .value = "N", .min = 2,
                      .max = SYNTHESIS_MAX_HEAD_DIM,
                      .help = "width of a head; with --embd or --heads: embd / heads"},
    [OPT_FFN] = {"ffn", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_FF,
                 .help = "width of the feed-forward part, or of one expert"},
    [OPT_EXPERTS] = {"experts", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_EXPERTS,
                     .help = "experts of a mixture"},
    [OPT_EXPERTS_USED] = {"experts-used", 0, OPTION_INT, .value = "N", .min = 1,
                          .max = SYNTHESIS_MAX_EXPERTS, .help = "experts that a token uses"},
    [OPT_VOCAB] = {"vocab", 0, OPTION_INT, .value = "N", .min = 1, .max = SYNTHESIS_MAX_VOCAB,
                   .help = "tokens of the vocabulary"},
    [OPT_MODEL_CTX] = {"ctx", 'c', OPTION_INT, .value = "N", .min = 1, .max = 1 << 28,
                       .help = "tokens of context that the model claims to be trained for"},
    [OPT_TIED] = {"tied", 0, OPTION_FLAG, .help = "no output matrix, the embedding serves"},
    [OPT_MODEL_SEED] = {"seed", 0, OPTION_INT, .value = "N", .max = 9007199254740992.0,
                        .help = "seed of the weights"},

    [OPT_IMATRIX] = {"imatrix", 0, OPTION_STRING, .value = "FILE",
                     .help = "importance matrix of this model: which weights are used most"},
    [OPT_OUTPUT_TYPE] = {"output-type", 0, OPTION_STRING, .value = "FORMAT",
                         .help = "weight format of the output matrix"},
    [OPT_EMBEDDING_TYPE] = {"embedding-type", 0, OPTION_STRING, .value = "FORMAT",
                            .help = "weight format of the token embedding"},
    [OPT_PURE] = {"pure", 0, OPTION_FLAG,
                  .help = "every matrix in the same format, none gets more bits"},
    [OPT_REQUANTIZE] = {"requantize", 0, OPTION_FLAG,
                        .help = "also what is quantized already, which costs quality twice"},
    [OPT_TENSORS] = {"verbose", 'v', OPTION_FLAG, .help = "tell what became of every tensor"},
    [OPT_OUT_FILE] = {"out", 'o', OPTION_STRING, .value = "FILE", .help = "file to be written"},

    [OPT_MIRROR] = {"mirror", 0, OPTION_STRING, .value = "URL",
                    .help = "take hf: names from this server instead of the hub"},
    [OPT_CONNECTIONS] = {"connections", 0, OPTION_INT, .value = "N", .min = 1,
                         .max = FETCH_MAX_CONNECTIONS,
                         .help = "connections that fetch parts of a file at the same time"},
    [OPT_STALL] = {"stall", 0, OPTION_INT, .value = "SECONDS", .min = 1, .max = 3600,
                   .help = "give up a connection that brings nothing for so long, and try again"},
    [OPT_YES] = {"yes", 'f', OPTION_FLAG, .help = "do not ask"},

    [OPT_SCORING] = {"scoring", 0, OPTION_ENUM, .names = scorings,
                     .help = "which tokens of a window are scored"},
    [OPT_PROMPT_SIZES] = {"prompt", 'p', OPTION_LIST, .value = "N,..", .max = 1 << 20,
                          .help = "tokens of the prompts that are timed; 0: none"},
    [OPT_ANSWER_SIZES] = {"gen", 'n', OPTION_LIST, .value = "N,..", .max = 1 << 20,
                          .help = "tokens of the answers that are timed; 0: none"},
    [OPT_DEPTHS] = {"depth", 'd', OPTION_LIST, .value = "N,..", .max = 1 << 20,
                    .help = "tokens that are in the cache before; 0 is always measured too"},
    [OPT_WIDTHS] = {"widths", 'w', OPTION_LIST, .value = "N,..", .min = 1, .max = BENCH_MAX_WIDTH,
                    .help = "time single passes of so many tokens, against one of 1 token"},
    [OPT_REPEATS] = {"repeats", 'r', OPTION_INT, .value = "N", .min = 1, .max = BENCH_MAX_REPEATS,
                     .help = "times that everything is measured"},
    [OPT_OUTPUT] = {"output", 'o', OPTION_ENUM, .names = outputs,
                    .help = "table for people, md for pages, csv and json for programs"},
    [OPT_HOPS] = {"hops", 0, OPTION_FLAG,
                  .help = "measure the way from node to node instead; no model is needed"},
    [OPT_PAYLOAD] = {"payload", 0, OPTION_SIZE, .value = "BYTES", .min = HOP_MIN_PAYLOAD,
                     .max = 4 * WIRE_MAX_WIDTH, .help = "size of the frames of --hops"},

    [OPT_IDS] = {"ids", 0, OPTION_FLAG, .help = "print the ids alone, in one line"},
    [OPT_SPECIAL] = {"special", 0, OPTION_FLAG,
                     .help = "put begin and end tokens where the model asks for them"},
    [OPT_CONTROL] = {"control", 0, OPTION_FLAG,
                     .help = "take the text of control tokens for those tokens; with --decode, "
                             "show it"},
    [OPT_DECODE] = {"decode", 0, OPTION_FLAG, .help = "the input is ids; print their text"},
    [OPT_BENCH] = {"bench", 0, OPTION_FLAG,
                   .help = "measure how fast the text, and texts that are hard, become tokens"},

    [OPT_WORKERS] = {"workers", 'w', OPTION_INT, .value = "N", .max = PLAN_MAX_NODES - 1,
                     .help = "run the model on this machine and N others that join; 0: here alone"},
    [OPT_LAYERS] = {"layers", 0, OPTION_STRING, .value = "A,B,..",
                    .help = "layers of each worker in the order of joining, and of this machine "
                            "last; without it they are measured and planned"},
    [OPT_SURVEY] = {"survey", 0, OPTION_STRING, .value = "FILE",
                    .help =
                        "write what the machines can do to FILE as JSON, for rondo plan --cluster"},
    [OPT_EVEN] = {"even", 0, OPTION_FLAG,
                  .help = "the same number of layers for each machine, nothing is measured"},
    [OPT_ROUNDS] = {"rounds", 'k', OPTION_INT, .value = "K", .max = PLAN_MAX_ROUNDS,
                    .help = "times that a token goes round the ring; 0: the best, or once"},
    [OPT_WIRE] = {"wire", 0, OPTION_ENUM, .names = wires,
                  .help = "activations between machines; f16 halves the bytes and changes bits"},
    [OPT_NAME] = {"name", 0, OPTION_STRING, .value = "NAME",
                  .help = "what this machine is called in a ring; without it the host's name"},
    [OPT_LISTEN] = {"listen", 0, OPTION_STRING, .value = "HOST:PORT",
                    .help = "address and port to be reached at, or one of them"},
    [OPT_TOKEN_FILE] = {"token-file", 0, OPTION_STRING, .value = "PATH",
                        .help = "write the token to this file too, for scripts"},
    [OPT_TRACE] = {"trace", 0, OPTION_STRING, .value = "FILE",
                   .help = "write what each node of the ring did in the last passes, as JSON that "
                           "ui.perfetto.dev shows"},
    [OPT_MODEL] = {"model", 'm', OPTION_STRING, .value = "MODEL",
                   .help = "path of the GGUF file that the head runs, or demo"},

    [OPT_CLUSTER] = {"cluster", 0, OPTION_STRING, .value = "FILE",
                     .help = "plan for the machines that this JSON file describes, the last being "
                             "the head; without it for this machine alone, as it is measured"},
    [OPT_WHAT_IF] = {"what-if", 0, OPTION_STRING, .value = "DEVICE,..",
                     .help = "show what these machines would bring beside those that are there: "
                             "names of typical devices, or files with a machine"},
    [OPT_DEVICES] = {"devices", 0, OPTION_FLAG,
                     .help = "list the typical devices, and that is all"},
    [OPT_COMPARE] = {"compare", 0, OPTION_FLAG,
                     .help = "beside the plan: without each machine, the head alone, one round, "
                             "the same number of layers for all, and what more memory, a "
                             "faster disk, processor or network would bring where they help most"},
    [OPT_SAVE] = {"save", 0, OPTION_STRING, .value = "FILE",
                  .help = "write the plan to FILE as JSON, for --apply"},
    [OPT_APPLY] = {"apply", 0, OPTION_STRING, .value = "FILE",
                   .help = "take the plan from FILE instead of making the best one"},
    [OPT_PLAN_LAYERS] = {"layers", 0, OPTION_STRING, .value = "A,B,..",
                         .help = "layers of each machine in the cluster's order, the head last, "
                                 "instead of the best ones"},
    [OPT_PLAN_ROUNDS] = {"rounds", 'k', OPTION_INT, .value = "K", .max = PLAN_MAX_ROUNDS,
                         .help = "times that a token goes round the ring; 0: the best"},
    [OPT_PROMPT_TOKENS] = {"prompt", 'p', OPTION_INT, .value = "N", .min = 1, .max = 1 << 20,
                           .help = "tokens of the prompt whose first answer is foretold"},
    [OPT_USERS] = {"users", 'u', OPTION_INT, .value = "N", .min = 1, .max = 1024,
                   .help = "answers at the same time, each with a context of its own"},
    [OPT_OBJECTIVE] = {"objective", 0, OPTION_ENUM, .names = objectives,
                       .help = "what the plan is best at: a whole answer, as long as its prompt; "
                               "the time of each token, the time to the first one, or tokens a "
                               "second of all users together"},
    [OPT_NO_GPU] = {"no-gpu", 0, OPTION_FLAG,
                    .help = "leave GPUs out, which this release plans but does not use yet"},
    [OPT_MODEL_LIKE] = {"model-like", 0, OPTION_STRING, .value = "SHAPE[:FORMAT]",
                        .help = "instead of MODEL: a model of this shape that need not be there, "
                                "as 70b or 70b:Q8_0"},
};
