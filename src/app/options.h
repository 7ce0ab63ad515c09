// The command line: one table of options, from which everything about them is made.
//
// option_table (option_table.c) says once for each option its name, type, range and help. From it
// come the parser, the help texts and the environment: `--top-k 40`, `--top-k=40`, RONDO_TOP_K=40.
// A verb names the options that it takes and what each is when nobody gives it; the command line
// wins over the environment, the environment over that.
//
// A new option is a line in `enum option_id` and one in option_table.
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_FLAG,   // --json; --json=no
    OPTION_INT,    // whole number in [min, max]
    OPTION_FLOAT,  // number in [min, max]
    OPTION_SIZE,   // bytes in [min, max], with K, M, G or T (powers of 1024)
    OPTION_STRING, // anything but nothing
    OPTION_ENUM,   // one of `names`
    OPTION_LIST,   // whole numbers in [min, max] with commas between
};

enum { OPTION_LIST_MAX = 16 };

enum option_id {
    OPT_END, // ends a verb's list
    OPT_HELP,
    OPT_VERSION,
    OPT_LOG_LEVEL,
    OPT_JSON,
    // the engine
    OPT_THREADS,
    OPT_PIN,
    OPT_ISA,
    OPT_LAYOUT,
    OPT_MEMORY,
    OPT_RESIDENCY,
    OPT_KV,
    OPT_CTX,
    OPT_BATCH,
    // answers
    OPT_TOKENS,
    OPT_RAW,
    OPT_SYSTEM,
    OPT_CHAT_TEMPLATE,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_REPEAT_PENALTY,
    OPT_SEED,
    OPT_THINK,
    OPT_SESSION,
    OPT_CTX_SHIFT,
    OPT_VERBOSE,
    OPT_AGAIN,
    // files
    OPT_FULL,
    OPT_WINDOW,
    OPT_SLICE_LAYERS,
    OPT_ENDS,
    OPT_SHAPE,
    OPT_ARCH,
    OPT_TYPE,
    OPT_TOKENIZER,
    OPT_MODEL_LAYERS,
    OPT_EMBD,
    OPT_HEADS,
    OPT_KV_HEADS,
    OPT_HEAD_DIM,
    OPT_FFN,
    OPT_EXPERTS,
    OPT_EXPERTS_USED,
    OPT_VOCAB,
    OPT_MODEL_CTX,
    OPT_TIED,
    OPT_MODEL_SEED,
    OPT_IMATRIX,
    OPT_OUTPUT_TYPE,
    OPT_EMBEDDING_TYPE,
    OPT_PURE,
    OPT_REQUANTIZE,
    OPT_TENSORS,
    OPT_OUT_FILE,
    // rondo pull, rondo rm
    OPT_MIRROR,
    OPT_CONNECTIONS,
    OPT_STALL,
    OPT_YES,
    // measurements
    OPT_SCORING,
    OPT_PROMPT_SIZES,
    OPT_ANSWER_SIZES,
    OPT_DEPTHS,
    OPT_WIDTHS,
    OPT_REPEATS,
    OPT_OUTPUT,
    OPT_HOPS,
    OPT_PAYLOAD,
    // rondo tokenize
    OPT_IDS,
    OPT_SPECIAL,
    OPT_CONTROL,
    OPT_DECODE,
    OPT_BENCH,
    // rings
    OPT_WORKERS,
    OPT_LAYERS,
    OPT_EVEN,
    OPT_SURVEY,
    OPT_ROUNDS,
    OPT_WIRE,
    OPT_NAME,
    OPT_LISTEN,
    OPT_TOKEN_FILE,
    OPT_TRACE,
    OPT_MODEL,
    // rondo plan
    OPT_CLUSTER,
    OPT_WHAT_IF,
    OPT_DEVICES,
    OPT_COMPARE,
    OPT_SAVE,
    OPT_APPLY,
    OPT_PLAN_LAYERS,
    OPT_PLAN_ROUNDS,
    OPT_PROMPT_TOKENS,
    OPT_USERS,
    OPT_OBJECTIVE,
    OPT_NO_GPU,
    OPT_MODEL_LIKE,
    OPT_COUNT,
};

struct option_spec {
    const char *name; // long name, without dashes
    char letter;      // short name or 0
    enum option_type type;
    const char *value; // what the value is called in help; unused by flags and enums
    const char *help;
    double min, max;
    const char *const *names; // OPTION_ENUM: NULL-terminated; the value is an index
};

extern const struct option_spec option_table[OPT_COUNT];

// An option as one verb takes it. `initial` is parsed like a value; NULL: not set, options_given
// tells.
struct verb_option {
    enum option_id id;
    const char *initial;
};

struct option_value {
    bool known; // this verb takes it
    bool set;   // has a value: given or initial
    bool given; // on the command line or in the environment
    bool typed; // on the command line
    union {
        int64_t integer; // flags, enums, sizes too
        double number;
        const char *text;
    };
};

struct options {
    struct option_value value[OPT_COUNT];
    const char **args; // operands; they point into argv
    int n_args;
};

// A verb of the program: one file, one line in verbs.c.
struct verb {
    const char *name;
    const char *summary;               // one line, no full stop
    const char *usage;                 // what follows the name: "MODEL [PROMPT]"
    const char *text;                  // paragraphs for its help; lines are wrapped
    const struct verb_option *options; // ends with OPT_END; --help, --log-level come by themselves
    int min_args, max_args;
    // 0, a negative error with `e` filled, or a positive exit code of its own.
    int (*run)(const struct options *o, struct err *e);
};

// All verbs in the order of the help, NULL at the end.
extern const struct verb *const verbs[];
const struct verb *verb_find(const char *name); // NULL: none

// Parses `argv` (without program and verb) and the environment. ERR_USAGE and a sentence, or 0.
// After --help nothing else is looked at.
int options_parse(struct options *o, const struct verb *v, int argc, char **argv, struct err *e);
void options_free(struct options *o);
// Gives an option of the verb another value, in the course of a conversation; NULL takes away what
// was given, of options that need no value. ERR_USAGE calls it `label`. `text` must stay.
int options_change(struct options *o, enum option_id id, const char *label, const char *text,
                   struct err *e);

// The option must be one of the verb's and of the right type, and set (except for strings).
bool options_given(const struct options *o, enum option_id id);
bool options_typed(const struct options *o, enum option_id id); // on the command line itself
bool options_flag(const struct options *o, enum option_id id);
int64_t options_int(const struct options *o, enum option_id id); // sizes too
double options_float(const struct options *o, enum option_id id);
const char *options_text(const struct options *o, enum option_id id); // NULL: not set
int options_enum(const struct options *o, enum option_id id);         // index in names
// The numbers of a list, at most OPTION_LIST_MAX, and how many they are; 0: not set.
int options_list(const struct options *o, enum option_id id, int *out);
const char *options_arg(const struct options *o, int i); // NULL: fewer operands

// A size as OPTION_SIZE takes it: "512M", "1.5G". False: it is none.
bool options_read_size(const char *text, double *bytes);
// The candidate that `word` was probably meant to be, or NULL when none is near.
const char *options_nearest(const char *word, const char *const *candidates, int n);
// RONDO_TOP_K for "top-k".
void options_variable(const struct option_spec *s, char *out, size_t size);
