// What is read when, over random tours: every part is there when it is used, two parts never share
// memory, it always goes on, and exactly the bytes of the law are read. The disk is a list of reads
// that come back in any order.
#include "support.h"

#include "base/rng.h"
#include "weights/cuts.h"
#include "weights/stream.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_STOPS = 6, MAX_PARTS = 60, CASES = 3000, PASSES = 6 };

struct disk {
    bool pending[STREAM_MAX_ENTRIES];
    uint64_t bytes;
};

struct home {
    struct rng rng;
    struct stream s;
    struct disk disk;
    struct stream_tour tour;
    uint32_t begin[MAX_STOPS + 1];
    int follows[MAX_STOPS];
    size_t bytes[MAX_PARTS];
    bool resident[MAX_PARTS];
    int held[2], n_held; // entries that are in use: one more is waited for at a time
    int n_parts;
};

static int below(struct home *h, int n)
{
    return (int)rng_below(&h->rng, (uint64_t)n);
}

// What is in the ring does not overlap.
static void check_memory(const struct home *h)
{
    const struct stream *s = &h->s;
    int n = 0;
    for (int i = 0; i < STREAM_MAX_ENTRIES; i++) {
        const struct stream_entry *a = &s->entries[i];
        if (a->state == ENTRY_FREE)
            continue;
        n++;
        assert_true(a->at + a->bytes <= s->size);
        for (int k = 0; k < i; k++) {
            const struct stream_entry *b = &s->entries[k];
            assert_true(b->state == ENTRY_FREE || a->at + a->bytes <= b->at ||
                        b->at + b->bytes <= a->at);
        }
    }
    assert_int_equal(n, s->n_entries);
}

static void start_reads(struct home *h)
{
    for (int i; (i = stream_dropped(&h->s)) >= 0 && !h->disk.pending[i];)
        stream_free(&h->s, i);
    for (int i; (i = stream_next(&h->s)) >= 0;) {
        assert_false(h->disk.pending[i]);
        h->disk.pending[i] = true;
        h->disk.bytes += h->s.entries[i].bytes;
        check_memory(h);
    }
}

// Some reads come back.
static void some_time(struct home *h)
{
    for (int i = 0; i < STREAM_MAX_ENTRIES; i++)
        if (h->disk.pending[i] && below(h, 2))
            h->disk.pending[i] = false;
}

// Of the one that is held for longest, as lists do.
static void let_go(struct home *h)
{
    stream_done(&h->s, h->held[0]);
    memmove(h->held, h->held + 1, (size_t)--h->n_held * sizeof *h->held);
    start_reads(h);
}

static void use(struct home *h, uint32_t part)
{
    int entry, tries = 0;
    if (h->resident[part])
        return;
    if (h->n_held == 2)
        let_go(h);
    while ((entry = stream_take(&h->s, part)) < 0) {
        assert_true(tries++ < 2 * STREAM_MAX_ENTRIES); // else it waits for ever
        int dropped = stream_dropped(&h->s);
        if (dropped >= 0)
            h->disk.pending[dropped] = false; // it is waited for
        start_reads(h);
    }
    h->disk.pending[entry] = false;
    assert_int_equal(h->s.entries[entry].part, part);
    assert_int_equal(h->s.entries[entry].state, ENTRY_TAKEN);
    assert_int_equal(stream_taken(&h->s, part), entry);
    h->held[h->n_held++] = entry;
    start_reads(h);
    some_time(h);
}

static void home_new(struct home *h, uint64_t seed)
{
    size_t largest = 1;
    memset(h, 0, sizeof *h);
    rng_init(&h->rng, seed);
    int n_stops = 1 + below(h, MAX_STOPS);
    for (int i = 0; i < n_stops; i++) {
        int n = below(h, MAX_PARTS / n_stops + 1);
        h->begin[i + 1] = h->begin[i] + (uint32_t)n;
        h->follows[i] = (i + 1) % n_stops;
    }
    h->n_parts = (int)h->begin[n_stops];
    for (int i = 0; i < h->n_parts; i++) {
        h->bytes[i] = (size_t)(1 + below(h, below(h, 2) ? 100 : 10));
        h->resident[i] = below(h, 4) > 1;
        largest = h->bytes[i] > largest ? h->bytes[i] : largest;
    }
    h->tour = (struct stream_tour){.n_stops = n_stops,
                                   .begin = h->begin,
                                   .follows = h->follows,
                                   .bytes = h->bytes,
                                   .resident = h->resident};
    size_t ring = largest * STREAM_MIN_PARTS + (size_t)below(h, 4) * (size_t)below(h, 200);
    stream_init(&h->s, &h->tour, ring);
    start_reads(h);
}

// Uses all parts of a stop, as a list does.
static void visit(struct home *h, int stop, int next, bool again)
{
    stream_visit(&h->s, stop, next, again);
    start_reads(h);
    for (uint32_t i = h->begin[stop]; i < h->begin[stop + 1]; i++) {
        use(h, i);
        if (h->n_held && below(h, 2))
            let_go(h);
    }
    while (h->n_held)
        let_go(h);
}

static uint64_t streamed_by(const struct home *h, int stop)
{
    uint64_t sum = 0;
    for (uint32_t i = h->begin[stop]; i < h->begin[stop + 1]; i++)
        sum += h->resident[i] ? 0 : h->bytes[i];
    return sum;
}

static uint64_t streamed(const struct home *h)
{
    uint64_t sum = 0;
    for (int i = 0; i < h->tour.n_stops; i++)
        sum += streamed_by(h, i);
    return sum;
}

// Bytes that are read and not used yet.
static uint64_t ahead(const struct home *h)
{
    uint64_t sum = 0;
    for (int i = 0; i < STREAM_MAX_ENTRIES; i++) {
        const struct stream_entry *e = &h->s.entries[i];
        sum += e->state == ENTRY_AHEAD && !e->used ? e->bytes : 0;
    }
    return sum;
}

static void a_tour_as_expected_reads_each_streamed_byte_once_a_pass(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        struct home h;
        home_new(&h, seed);
        for (int pass = 0; pass < PASSES; pass++)
            for (int stop = 0; stop < h.tour.n_stops; stop++)
                visit(&h, stop, h.follows[stop], false);
        assert_int_equal(h.disk.bytes - ahead(&h), PASSES * streamed(&h));
        assert_int_equal(h.s.wasted, 0);
    }
}

static void a_stop_that_is_passed_by_costs_nothing_when_it_is_said(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        struct home h;
        home_new(&h, seed);
        int last = h.tour.n_stops - 1;
        uint64_t wanted = 0;
        if (last < 2) // a ring larger than what is left would read into it again
            continue;
        for (int pass = 0; pass < PASSES; pass++) {
            bool skip = below(&h, 2);
            for (int stop = 0; stop <= last - skip; stop++) {
                visit(&h, stop, stop == last - 1 && skip ? 0 : h.follows[stop], false);
                wanted += streamed_by(&h, stop);
            }
        }
        assert_int_equal(h.disk.bytes - ahead(&h) - h.s.wasted, wanted);
    }
}

// What visits in a row share: all, or the first parts of the stop that leave room to read ahead.
static uint64_t shared_by(const struct home *h, int stop)
{
    uint64_t all = streamed_by(h, stop), largest = 0, sum = 0;
    for (uint32_t i = h->begin[stop]; i < h->begin[stop + 1]; i++)
        largest = !h->resident[i] && h->bytes[i] > largest ? h->bytes[i] : largest;
    if (all + largest <= h->s.size)
        return all;
    for (uint32_t i = h->begin[stop]; i < h->begin[stop + 1]; i++) {
        uint64_t bytes = h->resident[i] ? 0 : h->bytes[i];
        if (bytes && sum + bytes + STREAM_MIN_PARTS * largest > h->s.size)
            break;
        sum += bytes;
    }
    return sum;
}

// The chunks of a prompt, which go through each stop one behind the other, between single tokens.
static void visits_in_a_row_share_what_the_ring_can_hold(void **state)
{
    (void)state;
    int whole = 0, some = 0;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        struct home h;
        home_new(&h, seed);
        uint64_t wanted = 0, may_waste = 0;
        for (int pass = 0; pass < PASSES; pass++) {
            int chunks = pass % 2 ? 1 : 1 + below(&h, 5);
            for (int stop = 0; stop < h.tour.n_stops; stop++) {
                uint64_t all = streamed_by(&h, stop), shared = shared_by(&h, stop);
                for (int i = 0; i < chunks; i++)
                    visit(&h, stop, h.follows[stop], i < chunks - 1);
                wanted += all + (uint64_t)(chunks - 1) * (all - shared);
                whole += all && shared == all && chunks > 1;
                some += shared && shared < all && chunks > 1;
                // What does not quite fit: some of the next stop was there when nobody knew yet.
                if (all < h.s.size && shared < all && chunks > 1)
                    may_waste += h.s.size - all;
            }
        }
        assert_int_equal(h.disk.bytes - ahead(&h) - h.s.wasted, wanted);
        assert_true(h.s.wasted <= may_waste);
    }
    assert_true(whole > 100 && some > 100);
}

// Stops in any order, said wrongly half of the time, parts that come and go: it goes on, and what
// is read is used, dropped, or still ahead.
static void any_way_goes_on(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < CASES; seed++) {
        struct home h;
        home_new(&h, seed);
        for (int i = 0; i < PASSES * MAX_STOPS; i++) {
            if (h.n_parts && below(&h, 4) == 0) {
                h.resident[below(&h, h.n_parts)] ^= true;
                stream_changed(&h.s);
                start_reads(&h);
            }
            int stop = below(&h, h.tour.n_stops), n = below(&h, 4) ? 1 : 1 + below(&h, 4);
            for (int k = 0; k < n; k++) // sometimes it was wrong that it comes again, or not
                visit(&h, stop, below(&h, h.tour.n_stops), below(&h, 8) ? k < n - 1 : k == n - 1);
        }
        check_memory(&h);
    }
}

// ---- cutting and dealing -----------------------------------------------------------------------

static void parts_are_rows_in_whole_groups(void **state)
{
    (void)state;
    assert_int_equal(cuts_rows(100, 10, 1 << 20), 100);
    assert_int_equal(cuts_rows(8192, 1152, 4 << 20) % LANE_ROWS, 0);
    for (uint64_t rows = 1; rows < 5000; rows += 37) {
        int32_t n = cuts_rows(rows, 576, 64 << 10);
        assert_true(n > 0 && (uint64_t)n <= rows && ((uint64_t)n == rows || n % LANE_ROWS == 0));
        assert_true((uint64_t)n * 576 <= (64 << 10) * 3 / 2 + 576 * LANE_ROWS);
    }
}

static void parts_are_neither_too_large_nor_too_many(void **state)
{
    (void)state;
    const uint64_t mib = 1 << 20;
    assert_int_equal(cuts_part_bytes(700 * mib, UINT64_MAX), 4 * mib);
    assert_int_equal(cuts_part_bytes(700 * mib, 8 * mib), mib / 2);
    assert_int_equal(cuts_part_bytes(70 * mib, 0), 64 << 10);
    assert_int_equal(cuts_part_bytes(8192 * mib, 32 * mib), 2 * mib);
    assert_int_equal(cuts_part_bytes(8192 * mib, 0), 2 * mib);
    assert_int_equal(cuts_part_bytes(100000 * mib, UINT64_MAX), 16 * mib);
}

// However many are streamed, no stretch of the tour has many more of them than its share.
static void what_is_streamed_lies_evenly(void **state)
{
    (void)state;
    enum { N = 500 };
    uint32_t rank[N];
    uint64_t scratch[N];
    bool seen[N] = {false};
    cuts_rank(rank, N, scratch);
    for (int i = 0; i < N; i++) {
        assert_true(rank[i] < N && !seen[rank[i]]);
        seen[rank[i]] = true;
    }
    for (int resident = 0; resident <= N; resident += 7)
        for (int from = 0; from + 50 <= N; from += 10) {
            int found = 0;
            for (int i = from; i < from + 50; i++)
                found += rank[i] >= (uint32_t)resident;
            assert_true(abs(found * N - 50 * (N - resident)) <= 2 * N);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tour_as_expected_reads_each_streamed_byte_once_a_pass),
        cmocka_unit_test(a_stop_that_is_passed_by_costs_nothing_when_it_is_said),
        cmocka_unit_test(visits_in_a_row_share_what_the_ring_can_hold),
        cmocka_unit_test(any_way_goes_on),
        cmocka_unit_test(parts_are_rows_in_whole_groups),
        cmocka_unit_test(parts_are_neither_too_large_nor_too_many),
        cmocka_unit_test(what_is_streamed_lies_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
