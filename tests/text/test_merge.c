// The two ways of merging do the same, whatever ranks and ids pairs have.
#include "support.h"

#include "text/lookup.h"
#include "text/merge.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_SYMBOLS = 5000, N_LETTERS = 4 };

// What a made vocabulary is: of each pair whether it merges, into what and when.
struct rules {
    uint32_t seed, n_ranks, n_ids, one_in; // one_in: of so many pairs merges one
};
static struct rules rules; // merge_pair passes on a vocabulary, which these tests have none of

static bool pair_by_rules(const struct vocab *v, const char *word, const struct symbol *left,
                          const struct symbol *right, uint32_t *rank, int32_t *id)
{
    (void)v, (void)word;
    uint32_t hash = lookup_mix((uint64_t)left->id << 32 | rules.seed, (uint32_t)right->id);
    *rank = (hash >> 8) % rules.n_ranks;
    *id = N_LETTERS + (int32_t)((hash >> 4) % rules.n_ids);
    return hash % rules.one_in == 0;
}

static void fill(struct merger *m, size_t n, uint32_t seed, bool same)
{
    assert_int_equal(merger_begin(m, n), 0);
    for (size_t i = 0; i < n; i++)
        merger_add(m, (uint32_t)i, 1, same ? 0 : (int32_t)(lookup_mix(seed, i) % N_LETTERS));
}

static void assert_same_merges(size_t n, bool same_letters)
{
    struct merger a = {0}, b = {0};
    fill(&a, n, rules.seed, same_letters);
    fill(&b, n, rules.seed, same_letters);
    assert_int_equal(merger_run_short(&a, NULL, NULL, pair_by_rules), 0);
    assert_int_equal(merger_run_long(&b, NULL, NULL, pair_by_rules, rules.n_ranks), 0);
    int32_t i = 0;
    for (; i >= 0 && a.symbols[i].next == b.symbols[i].next; i = a.symbols[i].next) {
        assert_int_equal(a.symbols[i].id, b.symbols[i].id);
        assert_int_equal(a.symbols[i].size, b.symbols[i].size);
    }
    if (i >= 0)
        fail_msg("seed %u, %u ranks, %zu symbols: apart at %d", rules.seed, rules.n_ranks, n, i);
    merger_fini(&a);
    merger_fini(&b);
}

static void both_ways_merge_alike(void **state)
{
    (void)state;
    static const uint32_t n_ranks[] = {1, 2, 7, 100, 5000, 300000}, n_ids[] = {1, 3, 40, 100000};
    for (uint32_t seed = 0; seed < 200; seed++)
        for (int k = 0; k < 6; k++) {
            rules = (struct rules){seed, n_ranks[k], n_ids[seed % 4], 1 + seed % 3};
            size_t n = seed % 50 ? 1 + lookup_mix(seed, (uint64_t)k) % 300 : MAX_SYMBOLS;
            assert_same_merges(n, seed % 5 == 0);
        }
}

static void a_merger_may_be_used_again(void **state)
{
    (void)state;
    struct merger a = {0}, b = {0};
    rules = (struct rules){5, 400, 100, 2};
    for (uint32_t turn = 0; turn < 20; turn++) {
        size_t n = turn % 3 ? 3000 - 100 * turn : 10;
        fill(&a, n, turn, turn == 4);
        fill(&b, n, turn, turn == 4);
        assert_int_equal(merger_run_short(&a, NULL, NULL, pair_by_rules), 0);
        assert_int_equal(merger_run_long(&b, NULL, NULL, pair_by_rules, rules.n_ranks), 0);
        for (int32_t i = 0; i >= 0; i = a.symbols[i].next)
            assert_int_equal(a.symbols[i].next, b.symbols[i].next);
    }
    merger_fini(&a);
    merger_fini(&b);
}

static void nothing_merges_without_ranks(void **state)
{
    (void)state;
    struct merger m = {0};
    rules = (struct rules){1, 1, 1, UINT32_MAX};
    fill(&m, MAX_SYMBOLS, 1, false);
    assert_int_equal(merger_run(&m, NULL, NULL, pair_by_rules, 0), 0);
    assert_int_equal(m.symbols[0].next, 1);
    merger_fini(&m);
}

// The highest rank that is allowed, and the lowest, in one word.
static bool far_apart(const struct vocab *v, const char *word, const struct symbol *left,
                      const struct symbol *right, uint32_t *rank, int32_t *id)
{
    (void)v, (void)word;
    *rank = left->id == right->id ? MERGE_MAX_RANKS - 1 : 0;
    *id = 1;
    return left->size + right->size < 4;
}

static void ranks_may_be_as_many_as_allowed(void **state)
{
    (void)state;
    struct merger a = {0}, b = {0};
    fill(&a, 1000, 3, false);
    fill(&b, 1000, 3, false);
    assert_int_equal(merger_run_short(&a, NULL, NULL, far_apart), 0);
    assert_int_equal(merger_run_long(&b, NULL, NULL, far_apart, MERGE_MAX_RANKS), 0);
    for (int32_t i = 0; i >= 0; i = a.symbols[i].next)
        assert_int_equal(a.symbols[i].next, b.symbols[i].next);
    merger_fini(&a);
    merger_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_merge_alike),
        cmocka_unit_test(a_merger_may_be_used_again),
        cmocka_unit_test(nothing_merges_without_ranks),
        cmocka_unit_test(ranks_may_be_as_many_as_allowed),
    };
    return cmocka_run_group_tests_name("merge", tests, NULL, NULL);
}
