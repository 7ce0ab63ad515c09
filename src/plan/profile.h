// What a plan is made from: plain numbers about machines, the ways between them, and a model.
//
// measure/ fills a machine's numbers by doing what the engine does; plan/ uses them; as JSON
// (profile_json.h) they describe machines that are not there. Seconds and bytes throughout. A
// number that is not known is 0 where that cannot be a value, and profile_check says what a plan
// cannot be made without.
//
//     cluster   machines[0 .. n - 1]: nodes in the order in which they would stand in the ring, the
//               head last; links[i][j]: a hop from i to j
//     model     layers[0 .. n_layers - 1] and the head's output matrix, as bytes by weight type
#pragma once

#include "base/err.h"
#include "plan/layer_set.h"
#include "plan/windows.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PLAN_TYPES = 40,  // weight types by the numbers that GGUF files give them
    PLAN_WIDTHS = 3,  // tokens of a pass at which products are measured
    PLAN_STACKS = 8,  // weight types of one layer, mixtures of experts counted apart
    PLAN_GROUPS = 16, // of machines that share something
    PLAN_NAME = 32,
};
static const int plan_widths[PLAN_WIDTHS] = {1, 4, 64};

enum plan_form {
    PLAN_ROWS,  // as streamed weights are used, and mapped ones that were not turned
    PLAN_LANES, // as resident weights are used
    PLAN_FORMS,
};

// How fast a processor, or a GPU, computes.
struct plan_speed {
    // Seconds for a byte of weights of a type in a product with a pass of plan_widths[i] tokens,
    // all threads together, from memory (not caches). 0: not measured; see profile_product.
    double product[PLAN_FORMS][PLAN_TYPES][PLAN_WIDTHS];
    double layer;  // seconds that a layer takes beside its products, attention and their bytes
    double token;  // the same for each further token of a pass
    double attend; // seconds for a byte of keys and values that one token attends to
    double launch; // of beginning a window: GPU queues, waking threads
};

struct plan_machine {
    char name[PLAN_NAME];
    uint64_t memory; // bytes that a node may take in all (weights, cache, computing, slots)
    uint64_t base;   // bytes of it that a node takes whatever it runs: program, threads, frames
    struct plan_speed cpu;
    double disk; // bytes a second, read directly from the model's file; 0: nothing can be streamed
    // Memory of a GPU; 0: there is none. What lies there is computed there.
    uint64_t vram;
    struct plan_speed gpu;
    double copy; // bytes a second between RAM and VRAM: the hidden state, twice a window
    // Groups in which this machine shares something with others, as indices; -1: alone.
    int disk_group; // one disk: plan_cluster.disk_rates
    int net_group;  // one access point: plan_cluster.net_rates
    int core_group; // one set of processors: only one node at a time computes at full speed
};

struct plan_link {  // from compute loop to compute loop
    double latency; // seconds: threads waking, encryption, the way
    double rate;    // bytes a second
};

struct plan_cluster {
    int n; // the head is machine n - 1
    struct plan_machine machines[PLAN_MAX_NODES];
    struct plan_link links[PLAN_MAX_NODES][PLAN_MAX_NODES]; // [from][to]
    double disk_rates[PLAN_GROUPS]; // bytes a second that the machines of a group get together
    double net_rates[PLAN_GROUPS];
};

// Weights of one type in a layer. Of a mixture each token uses n_used of n_experts.
struct plan_stack {
    uint32_t type; // < PLAN_TYPES
    uint64_t bytes;
    int n_experts, n_used; // 0: every token uses all
};

struct plan_layer {
    struct plan_stack stacks[PLAN_STACKS];
    int n_stacks;
    uint64_t bytes;    // of all weights, vectors too
    uint64_t kv_bytes; // of keys and values, for a position
    int window;        // positions that a token sees; 0: all before it
};

struct plan_model {
    char name[64];
    int n_layers;
    struct plan_layer layers[PLAN_MAX_LAYERS];
    struct plan_layer output; // the head's: final norm and output matrix
    uint64_t embedding_bytes; // of the table, of which a pass reads its tokens' rows only
    uint32_t width;           // floats of one token's hidden state
    int context_length;       // trained
    uint64_t computing;       // bytes of activations of a pass of PLAN_BATCH tokens
    uint64_t computing_head;  // the same on the head: logits, lists
    uint64_t slots_least;     // bytes of the smallest ring of slots that streams
};
enum { PLAN_BATCH = 512 };

// 0, or one sentence that names the machine and the number that cannot be.
int profile_check(const struct plan_cluster *c, struct err *e);
int profile_check_model(const struct plan_model *m, struct err *e);

// Seconds for a byte of a type in a form in a pass of `tokens`: between the measured widths the
// time of a pass grows linearly, beyond the last it is proportional. A type that was not measured
// is as slow as the slowest that was.
double profile_product(const struct plan_speed *s, enum plan_form form, uint32_t type,
                       double tokens);
