// Shares: which rows of a product each thread begins with.
//
// The steps of a product (so many rows each) are cut into one stretch for each thread, as long as
// the thread was fast in earlier runs. A thread takes its own stretch from the front, a good piece
// at first and single steps at last, so that it reads weights in one direction; when it is through
// it takes from the back of those that are not. So nobody holds more than the piece that it is at,
// and a thread that is slow, or late, or not there, leaves the rest to the others:
//
//     |  thread 0          |  thread 1          |  thread 2     |
//      taken ──>    <── by 2  taken ──>            taken ─────>|
//
// A word says what of a stretch is taken, and in which run; in the next run it counts as untouched,
// so nothing has to be set back:
//
//     63     32  31         16  15        0
//     |  run   | from the back | front    |
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARES_MAX_STEPS = UINT16_MAX };

struct share {
    _Alignas(64) _Atomic uint64_t taken;
};

struct steps {
    int lo, hi;
};

struct shares {
    int n_threads, max_products;
    uint32_t run;
    struct share *stretches; // (max_products, n_threads)
    uint32_t *cuts;          // (n_threads + 1) where stretches begin, of 2^16
    float *speeds;           // (n_threads) part of the work that each did lately
    struct work {
        _Alignas(64) int64_t done;
    } * work; // (n_threads) of this run, in whatever unit; a thread writes its own
};

// The memory for `max_products` of a list: to be planned, then set up in it, zeroed, 64-byte
// aligned.
size_t shares_size(int n_threads, int max_products);
void shares_init(struct shares *s, void *memory, int n_threads, int max_products);

// Begins a run, with no thread inside: cuts by what the threads did in the last one.
void shares_begin(struct shares *s);
// The next piece of `thread`'s own stretch of a product of n steps; false: nothing left.
bool shares_own(struct shares *s, int product, int n, int thread, struct steps *out);
// A piece of the stretch that has most left; false: all of the product is taken.
bool shares_steal(struct shares *s, int product, int n, struct steps *out);
