// Reading ahead of use: what is asked for, when, and how often, over pieces of all sizes.
#include "support.h"

#include "base/rng.h"
#include "faulty_disk.h"
#include "gguf_bytes.h"
#include "tiny_model.h"
#include "weights/mapping.h"
#include "weights/prefetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PIECES = 40, MiB = 1 << 20 };

// A model of pieces of these sizes (multiples of 32), by its header alone.
static struct gguf *model_of(const uint64_t *sizes, size_t n)
{
    struct gguf_bytes b = {0};
    struct gguf *g = NULL;
    struct err e = {0};
    uint64_t need, offset = 0;
    bytes_prefix(&b, 3, n, 0);
    for (size_t i = 0; i < n; i++) {
        char name[32];
        uint64_t values = sizes[i] / sizeof(float);
        snprintf(name, sizeof name, "t%zu", i);
        bytes_tensor(&b, name, 1, &values, WT_F32, offset);
        offset += sizes[i];
    }
    bytes_align(&b, GGUF_DEFAULT_ALIGNMENT);
    assert_ok(gguf_parse(&g, b.data, b.size, b.size + offset, "sizes", &need, &e), &e);
    bytes_free(&b);
    return g;
}

// What was asked for, as bytes behind the begin of the first use, round after round.
struct watch {
    const uint64_t *sizes;
    size_t n;
    uint64_t at[MAX_PIECES], total; // at: of a piece in the round
    uint64_t asked;                 // all up to here was asked for
    uint64_t used;                  // all up to here was used, or is in use
    long asks;
    uint64_t reads;
    bool idle; // nothing is read
    struct prefetch_calls calls;
};

static void watch(void *arg, uint32_t piece, uint64_t from, uint64_t bytes)
{
    struct watch *w = arg;
    assert_true(piece < w->n && bytes > 0);
    assert_true(from <= w->sizes[piece] && bytes <= w->sizes[piece] - from);
    if (w->asked < w->used)
        w->asked = w->used;
    assert_int_equal(w->asked % w->total, (w->at[piece] + from) % w->total);
    w->asked += bytes;
    w->asks++;
}

static uint64_t count_reads(void *arg)
{
    struct watch *w = arg;
    w->reads += !w->idle;
    return w->reads;
}

static void watch_init(struct watch *w, const uint64_t *sizes, size_t n)
{
    *w = (struct watch){.sizes = sizes, .n = n};
    w->calls = (struct prefetch_calls){.ask = watch, .reads = count_reads, .arg = w};
    for (size_t i = 0; i < n; i++) {
        w->at[i] = w->total;
        w->total += sizes[i];
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void what_comes_is_asked_for_once_and_not_too_early(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    for (int round = 0; round < 200; round++) {
        uint64_t sizes[MAX_PIECES];
        uint32_t order[MAX_PIECES];
        size_t n = 1 + rng_u64(&r) % MAX_PIECES;
        uint64_t widest = UINT64_C(64) << rng_u64(&r) % 22; // 64 bytes to 128 MiB
        for (size_t i = 0; i < n; i++) {
            order[i] = (uint32_t)i;
            sizes[i] = 32 * (1 + rng_u64(&r) % (widest / 32));
        }
        struct gguf *g = model_of(sizes, n);
        struct prefetch *p;
        struct err e = {0};
        struct watch w;
        watch_init(&w, sizes, n);
        assert_ok(prefetch_new(&p, g, order, n, &e), &e);
        for (size_t use = 0; use < 4 * n; use++) {
            size_t i = use % n;
            w.used = use / n * w.total + w.at[i] + sizes[i];
            prefetch_use(p, order[i], &w.calls);
            uint64_t most = least(PREFETCH_MOST, w.total - sizes[i]);
            uint64_t ahead = w.asked > w.used ? w.asked - w.used : 0;
            assert_true(ahead <= most && ahead >= least(PREFETCH_LEAST, most));
        }
        prefetch_free(p);
        gguf_free(g);
    }
}

static void many_small_pieces_take_few_requests(void **state)
{
    (void)state;
    uint64_t sizes[MAX_PIECES];
    uint32_t order[MAX_PIECES];
    for (size_t i = 0; i < MAX_PIECES; i++) {
        sizes[i] = 4 * MiB;
        order[i] = (uint32_t)i;
    }
    struct gguf *g = model_of(sizes, MAX_PIECES);
    struct prefetch *p;
    struct err e = {0};
    struct watch w;
    watch_init(&w, sizes, MAX_PIECES);
    assert_ok(prefetch_new(&p, g, order, MAX_PIECES, &e), &e);
    long times = 0;
    for (size_t use = 0; use < 10 * MAX_PIECES; use++) {
        long before = w.asks;
        w.used = (use / MAX_PIECES) * w.total + w.at[use % MAX_PIECES] + 4 * MiB;
        prefetch_use(p, order[use % MAX_PIECES], &w.calls);
        times += w.asks > before;
    }
    // Each piece in one stretch, but for those that a batch of requests ends in.
    assert_true(w.asks <= 10 * MAX_PIECES + 8 + times);
    assert_true(times <= 10 * MAX_PIECES / 4);
    prefetch_free(p);
    gguf_free(g);
}

// A prompt in chunks works on one window again before the next one's turn.
static void a_jump_back_starts_anew_and_a_stranger_changes_nothing(void **state)
{
    (void)state;
    uint64_t sizes[6];
    uint32_t order[5] = {4, 2, 0, 3, 1}; // not that of the file; 5 is a stranger
    for (size_t i = 0; i < 6; i++)
        sizes[i] = 20 * MiB;
    uint64_t in_order[5] = {20 * MiB, 20 * MiB, 20 * MiB, 20 * MiB, 20 * MiB};
    struct gguf *g = model_of(sizes, 6);
    struct prefetch *p;
    struct err e = {0};
    struct watch w;
    watch_init(&w, in_order, 5);
    w.n = 6;
    w.sizes = sizes;
    for (size_t i = 0; i < 5; i++)
        w.at[order[i]] = i * 20 * MiB;
    assert_ok(prefetch_new(&p, g, order, 5, &e), &e);
    w.used = 20 * MiB;
    prefetch_use(p, 4, &w.calls);
    assert_int_equal(w.asks, 2); // all of 2, 12 MiB of 0
    prefetch_use(p, 5, &w.calls);
    prefetch_use(p, 4, &w.calls);
    assert_int_equal(w.asks, 2);
    w.used = 40 * MiB;
    prefetch_use(p, 2, &w.calls);
    assert_int_equal(w.asks, 4); // the rest of 0, 12 MiB of 3
    assert_int_equal(w.asked, 72 * MiB);
    w.used = w.asked = 120 * MiB; // back to the first
    prefetch_use(p, 4, &w.calls);
    assert_int_equal(w.asks, 6);
    assert_int_equal(w.asked, 152 * MiB);
    prefetch_free(p);
    gguf_free(g);
}

static void after_a_round_without_reading_nothing_is_asked_for(void **state)
{
    (void)state;
    uint64_t sizes[4] = {16 * MiB, 16 * MiB, 16 * MiB, 16 * MiB};
    uint32_t order[4] = {0, 1, 2, 3};
    static const bool idle[] = {false, false, true, true, true, false, false};
    static const bool asks[] = {true, true, false, false, false, true, true};
    struct gguf *g = model_of(sizes, 4);
    struct prefetch *p;
    struct err e = {0};
    struct watch w;
    watch_init(&w, sizes, 4);
    assert_ok(prefetch_new(&p, g, order, 4, &e), &e);
    for (size_t round = 0; round < sizeof idle; round++) {
        w.idle = idle[round]; // the round before, as the first use finds
        w.asks = 0;
        for (size_t i = 0; i < 4; i++) {
            w.used = round * w.total + w.at[i] + sizes[i];
            prefetch_use(p, order[i], &w.calls);
        }
        assert_int_equal(w.asks > 0, asks[round]);
    }
    prefetch_free(p);
    gguf_free(g);
}

static void a_mapping_passes_it_on_as_advice(void **state)
{
    (void)state;
    struct err e = {0};
    struct gguf *g;
    struct mapping *m;
    struct prefetch *p;
    const char *path = test_file("advised.gguf");
    tiny_model_write(path, &(struct tiny_model){.type = WT_Q8_0});
    assert_ok(gguf_open(&g, path, &e), &e);
    uint32_t n = (uint32_t)gguf_n_pieces(g);
    uint32_t *order = calloc(n, sizeof *order);
    assert_non_null(order);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    assert_ok(mapping_open(&m, g, &e), &e);
    assert_ok(prefetch_new(&p, g, order, n, &e), &e);
    faulty_disk((struct disk_faults){0});
    mapping_prefetch(m, p, 0);
    assert_int_equal(faulty_disk_calls(DISK_ADVISE), n - 1); // it is small: all the others
    faulty_disk_end();
    prefetch_free(p);
    mapping_free(m);
    gguf_free(g);
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_is_asked_for_once_and_not_too_early),
        cmocka_unit_test(many_small_pieces_take_few_requests),
        cmocka_unit_test(a_jump_back_starts_anew_and_a_stranger_changes_nothing),
        cmocka_unit_test(after_a_round_without_reading_nothing_is_asked_for),
        cmocka_unit_test(a_mapping_passes_it_on_as_advice),
    };
    return cmocka_run_group_tests_name("prefetch", tests, NULL, NULL);
}
