// The parts of rondo bench: what is measured, the measuring, and the printing.
//
//   bench.c           options to tests; the verb
//   bench_model.c     what a test costs in bytes and operations, by the model's file
//   bench_run.c       runs the tests by turns, in rounds
//   bench_figures.c   samples to figures
//   bench_report.c    figures to a table, Markdown, CSV or JSON
//
// A *test* is a thing that is timed: a prompt, an answer or a single pass of several tokens, each
// at some depth of the cache. All tests run by turns, round after round, with the limits of the
// machine read between them, so that whatever disturbs the machine disturbs them alike and every
// ratio is one of figures from the same minute.
#pragma once

#include "app/loaded.h"
#include "measure/dram.h"
#include "measure/int_peak.h"
#include "measure/machine.h"

#include <stdbool.h>

enum bench_output { BENCH_TABLE, BENCH_MD, BENCH_CSV, BENCH_JSON, BENCH_OUTPUT_COUNT };

enum {
    BENCH_MAX_WIDTH = 64,
    BENCH_MAX_REPEATS = 1000,
    BENCH_MAX_TESTS = 3 * OPTION_LIST_MAX * (OPTION_LIST_MAX + 1),
    BENCH_NAME_BYTES = 48,
};

enum bench_kind { BENCH_PROMPT, BENCH_ANSWER, BENCH_PASS };

struct bench_sample {
    double seconds;   // of one prompt, one answer, one pass
    double dram_gbps; // that memory gave around it; 0: not read
    double int_gops;  // that all threads computed around it
};

struct bench_test {
    enum bench_kind kind;
    int n, depth;                // tokens; tokens in the cache before
    char name[BENCH_NAME_BYTES]; // "pp512", "tg128 @ d4096", "n4"
    int against;                 // index of the test whose time it is compared with; -1: none
    double bytes, operations;    // that one run reads and does, by the model's file
    int n_samples;
    struct bench_sample *samples; // (repeats), into bench.samples
};

// What a model file holds.
struct bench_model {
    char type[96]; // "llama Q8_0"
    double bytes, params;
    double pass_bytes;     // of weights that a pass reads, but for experts
    double expert_bytes;   // of all experts
    double expert_share;   // of them that a token uses
    double layer_weights;  // multiplied for each token
    double output_weights; // multiplied for each token that wants logits
    double token_bytes;    // of keys and values
    bool integer;          // most weights are multiplied as integers
};

struct bench {
    struct loaded loaded;
    struct bench_model model;
    struct machine machine;
    enum isa isa;
    enum kv_type kv_type;
    int threads;
    struct dram *dram; // NULL: not read, because its buffer would be beside what --memory gives
    struct int_peak *peak;
    int repeats, batch;
    int depths[OPTION_LIST_MAX + 1], n_depths; // the first is 0
    struct bench_test tests[BENCH_MAX_TESTS];  // those of a depth stand together, passes last
    int n_tests;
    struct bench_sample *samples; // heap
    bool interrupted;
};

// The middle ones of a test's samples, where not said otherwise.
struct bench_figures {
    double tokens_per_s, deviation; // standard deviation
    double ms;
    double gbps, dram_share;
    double gops, peak_share;
    double relative; // time over that of the test `against`, round by round; 0: none
};

struct bench_range {
    double least, middle, most;
};

int bench_longest(const struct bench *b, bool passes); // tokens of a test that is, or is no, pass
void bench_look_into(struct bench *b);                 // fills model and machine
void bench_cost(const struct bench *b, struct bench_test *t);

// Fills the samples. Interrupted: 0, with what there is until then; or an error.
int bench_measure(struct bench *b, struct err *e);

struct bench_figures bench_figures_of(const struct bench *b, const struct bench_test *t);
struct bench_range bench_dram_range(const struct bench *b);
struct bench_range bench_peak_range(const struct bench *b);

int bench_print(const struct bench *b, enum bench_output output, struct err *e);
