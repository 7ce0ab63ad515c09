// A survey of clusters of all sizes: everything is asked once, nobody has two ways measured at a
// time, what machines share is found, what is known is not asked; and what was found is kept.
#include "support.h"

#include "base/rng.h"
#include "cluster/findings.h"
#include "cluster/inquiry.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct inquiry s;
static struct inquiry_questions q;

struct asked { // all questions so far
    int profiles[PLAN_MAX_NODES], disks[PLAN_MAX_NODES];
    int ways[PLAN_MAX_NODES][PLAN_MAX_NODES];
    struct { // those without an answer
        enum inquiry_stage stage;
        struct inquiry_question question;
    } open[PLAN_MAX_NODES];
    int n_open, most_open;
};

static struct asked asked;

static void note_questions(void)
{
    for (int i = 0; i < q.n; i++) {
        int node = q.list[i].node, to = q.list[i].to;
        if (s.stage == INQUIRY_PROFILES)
            asked.profiles[node]++;
        else if (s.stage == INQUIRY_LINKS)
            asked.ways[node][to]++;
        else
            asked.disks[node]++;
        assert_true(asked.n_open < PLAN_MAX_NODES);
        asked.open[asked.n_open].stage = s.stage;
        asked.open[asked.n_open++].question = q.list[i];
    }
    if (s.stage == INQUIRY_LINKS && asked.n_open > asked.most_open)
        asked.most_open = asked.n_open;
    for (int i = 0; s.stage == INQUIRY_LINKS && i < asked.n_open; i++)
        for (int j = 0; j < i; j++) {
            const struct inquiry_question *a = &asked.open[i].question,
                                          *b = &asked.open[j].question;
            assert_true(a->node != b->node && a->node != b->to && a->to != b->node &&
                        a->to != b->to);
        }
}

static void begin(const struct inquiry_seat *seats, int n)
{
    memset(&asked, 0, sizeof asked);
    inquiry_begin(&s, seats, n, &q);
}

// Answers what is open, in any order; the disk gives everybody 400 MB/s, together `together`.
static void answer_all(struct rng *r, double together)
{
    note_questions();
    while (s.stage != INQUIRY_DONE) {
        assert_true(asked.n_open > 0);
        assert_true(inquiry_waits_for(&s) >= 0);
        int at = (int)rng_below(r, (uint64_t)asked.n_open);
        enum inquiry_stage stage = asked.open[at].stage;
        struct inquiry_question x = asked.open[at].question;
        asked.open[at] = asked.open[--asked.n_open];
        if (stage == INQUIRY_PROFILES)
            inquiry_profile(&s, x.node, &(struct plan_machine){.memory = 1 << 20, .disk = 4e8}, &q);
        else if (stage == INQUIRY_LINKS)
            inquiry_link(&s, x.node, x.to,
                         &(struct plan_link){1e-4 * (x.node + 1), x.to == 1 ? 0 : 1e8}, &q);
        else
            inquiry_disk(&s, x.node, together, &q);
        note_questions();
    }
    assert_int_equal(asked.n_open, 0);
    assert_int_equal(inquiry_waits_for(&s), -1);
}

static void seats_of(struct inquiry_seat *seats, int n)
{
    for (int i = 0; i < n; i++) {
        seats[i] = (struct inquiry_seat){.machine = {1, (uint8_t)i},
                                         .disk = {2, (uint8_t)i},
                                         .processors = 200,
                                         .of_processors = 400};
        snprintf(seats[i].name, sizeof seats[i].name, "node %d", i);
    }
}

static void everybody_is_asked_everything_once(void **state)
{
    struct rng r;
    struct inquiry_seat seats[PLAN_MAX_NODES];
    (void)state;
    rng_init(&r, 7);
    for (int n = 2; n <= PLAN_MAX_NODES; n++) {
        seats_of(seats, n);
        begin(seats, n);
        answer_all(&r, 4e8);
        for (int i = 0; i < n; i++) {
            assert_int_equal(asked.profiles[i], 1);
            assert_int_equal(asked.disks[i], 0);
            assert_int_equal(s.cluster.machines[i].disk_group, -1);
            assert_int_equal(s.cluster.machines[i].core_group, -1);
            assert_string_equal(s.cluster.machines[i].name, seats[i].name);
            for (int j = 0; j < n; j++) {
                assert_int_equal(asked.ways[i][j], i != j);
                if (i == j)
                    continue;
                const struct plan_link *way = &s.cluster.links[i][j];
                assert_true(way->rate > 0); // of a way that is none, too
                assert_true(j == 1 ? way->latency > 100 : way->latency < 1);
            }
        }
        assert_int_equal(asked.most_open, n / 2);
    }
}

static void what_machines_share_is_found(void **state)
{
    struct rng r;
    struct inquiry_seat seats[PLAN_MAX_NODES];
    (void)state;
    rng_init(&r, 8);
    seats_of(seats, 5);
    for (int i = 1; i < 4; i++) { // three programs on one machine, two processors each of its four
        memcpy(seats[i].machine, seats[1].machine, sizeof seats[i].machine);
        memcpy(seats[i].disk, seats[1].disk, sizeof seats[i].disk);
    }
    begin(seats, 5);
    assert_int_equal(q.n, 3);     // one of the three
    inquiry_shares_memory(&s, 1); // two of them take what the machine can spare, one is limited
    inquiry_shares_memory(&s, 3);
    inquiry_shares_memory(&s, 4); // alone on its machine
    answer_all(&r, 1e8);
    assert_int_equal(asked.most_open, 1);
    for (int i = 0; i < 5; i++) {
        bool shares = i >= 1 && i < 4;
        assert_int_equal(asked.disks[i], shares);
        assert_int_equal(s.cluster.machines[i].memory, (1 << 20) / (i == 1 || i == 3 ? 2 : 1));
        assert_int_equal(s.cluster.machines[i].disk_group, shares ? 0 : -1);
        assert_int_equal(s.cluster.machines[i].core_group, shares ? 0 : -1);
    }
    assert_float_equal(s.cluster.disk_rates[0], 3e8, 1);
    // Where they did not read at the same time one disk would be three: it gives little more to all
    // than to one. And shares of processors that are kept apart.
    for (int i = 1; i < 4; i++)
        seats[i].processors = 100;
    begin(seats, 5);
    answer_all(&r, 3.9e8);
    assert_float_equal(s.cluster.disk_rates[0], 4.4e8, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(s.cluster.machines[i].core_group, -1);
    // A disk of another machine, which each of them has a way to of its own.
    for (int i = 1; i < 4; i++)
        seats[i].machine[0] = (uint8_t)(seats[i].machine[0] + i);
    begin(seats, 5);
    answer_all(&r, 3.9e8);
    for (int i = 0; i < 5; i++)
        assert_int_equal(s.cluster.machines[i].disk_group, -1);
}

static void what_is_known_is_not_asked(void **state)
{
    struct rng r;
    struct inquiry_seat seats[PLAN_MAX_NODES];
    (void)state;
    rng_init(&r, 9);
    seats_of(seats, 4);
    memcpy(seats[2].disk, seats[1].disk, sizeof seats[2].disk);
    begin(seats, 4);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (i != j && (i != 3 || j != 2))
                inquiry_recall_link(&s, i, j, &(struct plan_link){5e-5, 2e8});
    inquiry_recall_disk(&s, 1, 1e8);
    inquiry_recall_disk(&s, 2, 2e8);
    answer_all(&r, 4e8);
    int n = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(asked.disks[i], 0);
        for (int j = 0; j < 4; j++)
            n += asked.ways[i][j];
    }
    assert_int_equal(n, 1);
    assert_int_equal(asked.ways[3][2], 1);
    assert_float_equal(s.cluster.links[0][1].latency, 5e-5, 1e-9);
    assert_float_equal(s.cluster.disk_rates[0], 3e8, 1);
}

static void one_who_knows_nothing_ends_it(void **state)
{
    struct inquiry_seat seats[PLAN_MAX_NODES];
    (void)state;
    seats_of(seats, 3);
    begin(seats, 3);
    inquiry_profile(&s, 1, &(struct plan_machine){.memory = 1}, &q);
    inquiry_profile(&s, 1, NULL, &q); // it has answered already
    assert_false(s.unknown);
    inquiry_link(&s, 0, 1, &(struct plan_link){1, 1}, &q); // nobody asked
    inquiry_disk(&s, 0, 1, &q);
    assert_int_equal(s.stage, INQUIRY_PROFILES);
    inquiry_profile(&s, 0, NULL, &q);
    assert_int_equal(s.stage, INQUIRY_DONE);
    assert_true(s.unknown);
}

// ---- Findings.

static struct findings f, g;

static void key_of(int i, uint8_t key[FINDINGS_KEY])
{
    findings_key(key, &i, sizeof i);
}

static void findings_are_kept_for_a_day(void **state)
{
    uint8_t key[FINDINGS_KEY];
    char folder[256];
    (void)state;
    snprintf(folder, sizeof folder, "%s", test_file("state"));
    mkdir(folder, 0700);
    findings_load(&f, folder);
    assert_int_equal(f.n, 0);
    for (int i = 0; i < FINDINGS_MAX + 10; i++) { // the first ten make room
        key_of(i, key);
        findings_put(&f, key, i * 1e-5, i * 1e7, 1000000 + i);
    }
    findings_store(&f, folder);
    assert_false(f.changed);
    findings_load(&g, folder);
    assert_int_equal(g.n, FINDINGS_MAX);
    for (int i = 0; i < FINDINGS_MAX + 10; i++) {
        key_of(i, key);
        const struct finding *x = findings_find(&g, key, 1002000);
        assert_int_equal(x != NULL, i >= 10);
        if (x)
            assert_float_equal(x->a, i * 1e-5, 1e-12);
    }
    key_of(500, key);
    assert_non_null(findings_find(&g, key, 1000500 + FINDINGS_VALID_S - 1));
    assert_null(findings_find(&g, key, 1000500 + FINDINGS_VALID_S));
    assert_null(findings_find(&g, key, 1000499)); // the clock was put back
}

static void a_damaged_file_is_as_good_as_none(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"found\":[]}",
        "{\"version\":1,\"found\":[{\"key\":\"00\",\"a\":1,\"b\":1,\"at_s\":1}]}",
        "{\"version\":1,\"found\":[{\"key\":\"000102030405060708090a0b0c0d0e0g\",\"a\":1}]}",
        "{\"version\":1,\"found\":[{\"key\":\"000102030405060708090a0b0c0d0e0f\",\"a\":-1}]}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        assert_true(findings_parse(&f, bad[i], strlen(bad[i]), &e) < 0);
        assert_int_equal(f.n, 0);
        assert_true(strlen(e.text) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_asked_everything_once),
        cmocka_unit_test(what_machines_share_is_found),
        cmocka_unit_test(what_is_known_is_not_asked),
        cmocka_unit_test(one_who_knows_nothing_ends_it),
        cmocka_unit_test(findings_are_kept_for_a_day),
        cmocka_unit_test(a_damaged_file_is_as_good_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
