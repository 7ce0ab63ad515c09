// Pieces in slots: the right bytes whatever is asked for in which order, held ones stay, layers do
// not push each other out, reads that fail leave a good slot behind, and memory is given back.
#include "support.h"

#include "base/guard.h"
#include "base/rng.h"
#include "disk/io.h"
#include "disk/reader.h"
#include "faulty_disk.h"
#include "weights/expert_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    BLOCK = READER_ALIGN,
    MOST_BYTES = 3 * BLOCK, // of a piece
    SLOT = MOST_BYTES + BLOCK,
    GROUPS = 6,
    PER_GROUP = 40,
    PIECES = GROUPS * PER_GROUP,
    SLOTS = 60,
};

// Pieces of all sizes one after the other in a file, at multiples of 32.
struct rig {
    struct rng rng;
    struct expert_place places[PIECES];
    uint8_t *data;
    uint64_t size;
    int fd;
    const char *paths[1];
    uint8_t *memory;
    struct reader *reader;
    struct expert_cache *c;
    const uint8_t *held[PIECES];
};

static void open_file(struct rig *t)
{
    char path[300];
    snprintf(path, sizeof path, "%s/rondo-experts-%d", test_folder(), (int)getpid());
    t->data = malloc(t->size);
    assert_non_null(t->data);
    for (uint64_t i = 0; i < t->size; i++)
        t->data[i] = (uint8_t)rng_u64(&t->rng);
    t->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(t->fd >= 0);
    assert_int_equal(disk_write_full(t->fd, t->data, t->size, 0), 0);
    unlink(path);
}

struct rig_options {
    int n_slots, least;
    bool locked;
    int depth; // reads at a time; 0: any
};

static void rig_open(struct rig *t, uint64_t seed, struct rig_options r)
{
    struct err e = {0};
    int n_slots = r.n_slots;
    memset(t, 0, sizeof *t);
    rng_init(&t->rng, seed);
    for (int i = 0; i < PIECES; i++) {
        t->places[i] = (struct expert_place){.group = i / PER_GROUP,
                                             .offset = t->size,
                                             .size = 1 + (size_t)rng_below(&t->rng, MOST_BYTES)};
        t->size += (t->places[i].size + 31) / 32 * 32;
    }
    open_file(t);
    t->paths[0] = "model.gguf";
    t->memory = mmap(NULL, (size_t)n_slots * SLOT, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(t->memory != MAP_FAILED);
    struct reader_options reader = {
        .best = READER_BUFFERED, .fds = &t->fd, .sizes = &t->size, .n_files = 1, .depth = r.depth};
    assert_ok(reader_open(&t->reader, &reader, &e), &e);
    struct expert_cache_options o = {.reader = t->reader,
                                     .memory = t->memory,
                                     .slot_bytes = SLOT,
                                     .locked = r.locked,
                                     .n_slots = n_slots,
                                     .least = r.least,
                                     .n_groups = GROUPS,
                                     .n_pieces = PIECES,
                                     .paths = t->paths};
    assert_ok(expert_cache_new(&t->c, &o, &e), &e);
    assert_int_equal(expert_cache_at_once(t->c), r.least);
}

static void rig_close(struct rig *t, int n_slots)
{
    expert_cache_free(t->c);
    reader_close(t->reader);
    munmap(t->memory, (size_t)n_slots * SLOT);
    close(t->fd);
    free(t->data);
}

static bool right(const struct rig *t, int piece)
{
    const struct expert_place *p = &t->places[piece];
    return !memcmp(t->held[piece], t->data + p->offset, p->size);
}

static void want(struct rig *t, int piece)
{
    expert_cache_want(t->c, (uint32_t)piece, &t->places[piece]);
}

static bool try_to_acquire(struct rig *t, int piece, struct err *e)
{
    t->held[piece] = expert_cache_acquire(t->c, (uint32_t)piece, &t->places[piece], e);
    return t->held[piece];
}

static void acquire(struct rig *t, int piece)
{
    struct err e = {0};
    if (!try_to_acquire(t, piece, &e))
        fail_msg("%s", e.text);
    assert_true(right(t, piece));
}

static void release(struct rig *t, int piece)
{
    assert_true(right(t, piece)); // it stayed
    t->held[piece] = NULL;
    expert_cache_release(t->c, (uint32_t)piece);
}

static void use(struct rig *t, int piece)
{
    acquire(t, piece);
    release(t, piece);
}

static int below(struct rig *t, int n)
{
    return (int)rng_below(&t->rng, (uint64_t)n);
}

// Up to n different pieces of a group.
static int choose(struct rig *t, int group, int n, int *out)
{
    bool chosen[PER_GROUP] = {0};
    for (int i = 0; i < n; i++) {
        int k = below(t, PER_GROUP);
        while (chosen[k])
            k = (k + 1) % PER_GROUP;
        chosen[k] = true;
        out[i] = group * PER_GROUP + k;
    }
    return n;
}

static size_t bytes_of(const struct rig *t, int piece)
{
    return expert_cache_slot_bytes(t->places[piece].offset, t->places[piece].size);
}

// Until so many reads are through.
static void settle(struct rig *t, uint64_t reads)
{
    while (reader_report(t->reader).reads < reads)
        usleep(200);
}

static ssize_t slow_pread(int fd, void *data, size_t size, int64_t offset)
{
    usleep(200 + (unsigned)offset / 32 % 7 * 100);
    return disk_io_real.pread(fd, data, size, offset);
}

// ---- what is where -----------------------------------------------------------------------------

// Groups in any order, pieces that are wanted or not, wanted and not used, and a limit that moves.
static void go_around(struct rig *t, uint64_t seed, int visits)
{
    int least = 1 + (int)(seed % 12), n_slots = least + (int)(seed * 7 % (SLOTS - 12));
    uint64_t acquired = 0;
    int chosen[PER_GROUP];
    rig_open(t, seed, (struct rig_options){n_slots, least, false, 0});
    for (int visit = 0; visit < visits; visit++) {
        int group = below(t, 3) ? visit % GROUPS : below(t, GROUPS);
        int n = choose(t, group, 1 + below(t, least), chosen), extra;
        if (below(t, 4) == 0) {
            choose(t, group, 1, &extra);
            want(t, extra);
        }
        for (int i = 0; i < n; i++)
            if (below(t, 8))
                want(t, chosen[i]);
        if (below(t, 10) == 0)
            expert_cache_limit(t->c, below(t, n_slots + 3));
        for (int i = 0; i < n; i++) {
            acquire(t, chosen[i]);
            for (int k = 0; k <= i; k++)
                assert_true(right(t, chosen[k]));
        }
        for (int i = 0; i < n; i++)
            release(t, chosen[i]);
        acquired += (uint64_t)n;
        struct expert_cache_status s = expert_cache_status(t->c);
        assert_int_equal(s.hits + s.misses, acquired);
        assert_in_range(s.n_filled, n, s.n_slots);
        assert_in_range(s.n_slots, least, n_slots);
        assert_true(s.wasted_bytes <= s.read_bytes);
    }
    rig_close(t, n_slots);
}

static void pieces_are_right_whatever_is_asked_for(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    for (uint64_t seed = 1; seed <= 40; seed++)
        go_around(t, seed, 200);
    free(t);
}

// Slots whose pieces nobody wants any more are still being read.
static void pieces_are_right_when_reads_take_long(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    struct disk_io slow = disk_io_real;
    assert_non_null(t);
    slow.pread = slow_pread;
    disk_io = &slow;
    for (uint64_t seed = 1; seed <= 12; seed++)
        go_around(t, seed, 30);
    for (int visit = 0; visit < 20; visit++) {
        rig_open(t, 15, (struct rig_options){2, 2, false, 1});
        want(t, 0);
        want(t, 1);
        acquire(t, PER_GROUP); // another layer, while both slots are being read
        acquire(t, PER_GROUP + 1);
        release(t, PER_GROUP);
        release(t, PER_GROUP + 1);
        rig_close(t, 2);
    }
    disk_io = &disk_io_real;
    free(t);
}

static void a_piece_is_held_as_often_as_it_was_acquired(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 3, (struct rig_options){2, 2, false, 0});
    acquire(t, 0);
    acquire(t, 0);
    release(t, 0);
    t->held[0] = t->memory; // wherever it is
    for (int i = 1; i < 20; i++)
        use(t, i); // through the other slot
    acquire(t, 0);
    assert_int_equal(expert_cache_status(t->c).misses, 20);
    release(t, 0);
    expert_cache_release(t->c, 0);
    rig_close(t, 2);
    free(t);
}

static void exactly_what_is_missing_is_read(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 4, (struct rig_options){12, 8, false, 0});
    uint64_t bytes = 0;
    for (int i = 0; i < 8; i++) {
        want(t, i);
        want(t, i);
        bytes += bytes_of(t, i);
    }
    for (int i = 0; i < 8; i++)
        use(t, i);
    for (int i = 0; i < 8; i++)
        use(t, i);
    struct expert_cache_status s = expert_cache_status(t->c);
    assert_int_equal(s.read_bytes, bytes);
    assert_int_equal(s.wasted_bytes, 0);
    assert_int_equal(s.misses, 8);
    assert_int_equal(s.hits, 8);
    assert_int_equal(s.n_filled, 8);
    rig_close(t, 12);
    free(t);
}

// Each layer uses the same pieces again and again, some at a time, as a token goes through all of
// them: least recently used of all would never find one.
static void layers_do_not_push_each_other_out(void **state)
{
    (void)state;
    enum { EACH = 8, AT_ONCE = 4, N = GROUPS * EACH + AT_ONCE };
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 5, (struct rig_options){N, AT_ONCE, false, 0});
    for (int pass = 0; pass < 5; pass++)
        for (int group = 0; group < GROUPS; group++)
            for (int i = 0; i < EACH; i++)
                use(t, group * PER_GROUP + i);
    assert_int_equal(expert_cache_status(t->c).misses, GROUPS * EACH);
    for (int i = EACH; i < PER_GROUP; i++) // a prompt that uses all experts of a layer
        use(t, i);
    uint64_t before = expert_cache_status(t->c).misses;
    for (int group = 1; group < GROUPS; group++)
        for (int i = 0; i < EACH; i++)
            use(t, group * PER_GROUP + i);
    assert_int_equal(expert_cache_status(t->c).misses, before);
    rig_close(t, N);
    free(t);
}

// A layer that uses more than its share takes the rest from where the last one left it.
static void what_a_layer_takes_beyond_its_share_goes_on_to_the_next(void **state)
{
    (void)state;
    enum { EACH = 12, N = GROUPS * 6 + 6, PASSES = 10 };
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 6, (struct rig_options){N, EACH, false, 0});
    for (int pass = 0; pass < PASSES; pass++)
        for (int group = 0; group < GROUPS; group++) {
            for (int i = 0; i < EACH; i++)
                want(t, group * PER_GROUP + i);
            for (int i = 0; i < EACH; i++)
                acquire(t, group * PER_GROUP + i);
            for (int i = 0; i < EACH; i++)
                release(t, group * PER_GROUP + i);
        }
    // Its own share of each layer stays: 6 of 12 pieces, and what is lost to it is lost once.
    struct expert_cache_status s = expert_cache_status(t->c);
    assert_in_range(s.hits, (PASSES - 1) * GROUPS * 5, (PASSES - 1) * GROUPS * 7);
    assert_int_equal(s.wasted_bytes, 0);
    rig_close(t, N);
    free(t);
}

static void what_is_wanted_is_not_given_up_for_what_is_wanted_later(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 7, (struct rig_options){6, 3, false, 0});
    for (int i = 0; i < 6; i++)
        want(t, i);
    settle(t, 6);
    for (int i = 6; i < 20; i++)
        want(t, i); // there is no room
    for (int i = 0; i < 6; i++)
        use(t, i);
    struct expert_cache_status s = expert_cache_status(t->c);
    assert_int_equal(s.wasted_bytes, 0);
    assert_int_equal(s.misses, 6);
    for (int i = 0; i < 6; i++)
        want(t, i); // nobody comes for them: another layer is at work
    uint64_t bytes = 0;
    for (int i = PER_GROUP; i < PER_GROUP + 6; i++) {
        want(t, i);
        bytes += bytes_of(t, i);
    }
    assert_int_equal(expert_cache_status(t->c).read_bytes, s.read_bytes + bytes);
    for (int i = PER_GROUP; i < PER_GROUP + 6; i++)
        use(t, i);
    assert_int_equal(expert_cache_status(t->c).misses, 12);
    // What is acquired always gets a slot.
    for (int i = 0; i < 6; i++)
        want(t, 2 * PER_GROUP + i);
    for (int i = 10; i < 13; i++)
        acquire(t, 2 * PER_GROUP + i);
    for (int i = 10; i < 13; i++)
        release(t, 2 * PER_GROUP + i);
    rig_close(t, 6);
    free(t);
}

// ---- faults ------------------------------------------------------------------------------------

static void a_read_that_fails_is_told_of_and_its_slot_is_good_again(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    for (long n = 0; n < 6; n++)
        for (int wanted = 0; wanted < 2; wanted++) {
            int failed = 0;
            faulty_disk((struct disk_faults){.call = DISK_PREAD, .nth = n, .error = ENODEV});
            rig_open(t, 8, (struct rig_options){3, 3, false, 0});
            for (int i = 0; i < 6; i++) {
                struct err e = {0};
                if (wanted)
                    want(t, i);
                if (!try_to_acquire(t, i, &e)) {
                    assert_non_null(strstr(e.text, "model.gguf: weights cannot be read at byte"));
                    assert_non_null(strstr(e.text, strerror(ENODEV)));
                    failed++;
                    acquire(t, i); // again, and the disk is well
                }
                release(t, i);
            }
            assert_in_range(failed, !wanted,
                            1); // one that failed before it is asked for comes again
            for (int i = 0; i < 3; i++)
                acquire(t, i);
            for (int i = 0; i < 3; i++)
                release(t, i);
            rig_close(t, 3);
            assert_true(faulty_disk_end());
        }
    free(t);
}

static void a_file_that_was_cut_short_is_told_of(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    struct err e = {0};
    assert_non_null(t);
    rig_open(t, 9, (struct rig_options){4, 4, false, 0});
    int last = PIECES - 1;
    use(t, 0);
    assert_int_equal(ftruncate(t->fd, (off_t)t->places[last].offset), 0);
    want(t, last);
    assert_false(try_to_acquire(t, last, &e));
    assert_non_null(strstr(e.text, "model.gguf: the file ends before its weights do"));
    use(t, 0); // what is there stays good
    assert_int_equal(disk_write_full(t->fd, t->data, t->size, 0), 0);
    use(t, last);
    rig_close(t, 4);
    free(t);
}

// A want that failed long ago is no reason to fail now.
static void what_failed_and_nobody_came_for_is_read_again(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    for (int again = 0; again < 2; again++) {
        faulty_disk((struct disk_faults){.call = DISK_PREAD, .nth = 0, .error = ENODEV});
        rig_open(t, 10, (struct rig_options){4, 4, false, 1});
        want(t, 0);
        use(t, PER_GROUP); // is read behind it
        if (again)
            want(t, 0);
        use(t, 0);
        rig_close(t, 4);
        assert_true(faulty_disk_end());
    }
    free(t);
}

// ---- memory ------------------------------------------------------------------------------------

static size_t resident(const struct rig *t, int n_slots)
{
    unsigned char pages[SLOTS * SLOT / BLOCK];
    size_t n = (size_t)n_slots * SLOT / BLOCK, sum = 0;
    assert_int_equal(mincore(t->memory, n * BLOCK, pages), 0);
    for (size_t i = 0; i < n; i++)
        sum += pages[i] & 1;
    return sum * BLOCK;
}

// Whether memory can be locked, and unlocked again: sanitizers make the second do nothing.
static bool can_lock(void)
{
    void *page = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    bool can = !mlock2(page, BLOCK, MLOCK_ONFAULT) && !munlock(page, BLOCK) &&
               !madvise(page, BLOCK, MADV_DONTNEED);
    munmap(page, BLOCK);
    return can;
}

static void memory_is_given_back_and_comes_again(void **state)
{
    (void)state;
    enum { N = 40, LEAST = 4 };
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    if (sysconf(_SC_PAGESIZE) != BLOCK) {
        free(t);
        test_skip("memory is given back by pages, which are not of %d bytes here", BLOCK);
    }
    if (!can_lock())
        print_message("# memory cannot be locked here: only without it\n");
    for (int locked = 0; locked < 1 + can_lock(); locked++) {
        rig_open(t, 11, (struct rig_options){N, LEAST, locked, 0});
        if (locked)
            mlock2(t->memory, (size_t)N * SLOT, MLOCK_ONFAULT);
        for (int i = 0; i < N; i++)
            use(t, i * PER_GROUP / 8 % PIECES);
        assert_true(resident(t, N) > (size_t)N * BLOCK);
        for (int limit = 30; limit >= LEAST - 2; limit -= 7) {
            int most = limit < LEAST ? LEAST : limit;
            expert_cache_limit(t->c, limit);
            assert_int_equal(expert_cache_status(t->c).n_slots, most);
            assert_true(resident(t, N) <= (size_t)most * SLOT);
        }
        for (int i = 0; i < PIECES; i++)
            use(t, i);
        assert_true(resident(t, N) <= LEAST * SLOT);
        expert_cache_limit(t->c, N + 100);
        assert_int_equal(expert_cache_status(t->c).n_slots, N);
        for (int i = 0; i < PIECES; i++)
            use(t, i);
        assert_int_equal(expert_cache_status(t->c).n_filled, N);
        rig_close(t, N);
    }
    free(t);
}

static void what_is_held_is_given_back_when_it_is_released(void **state)
{
    (void)state;
    enum { N = 10, LEAST = 2 };
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 12, (struct rig_options){N, LEAST, false, 0});
    for (int i = 0; i < 6; i++)
        acquire(t, i);
    expert_cache_limit(t->c, LEAST);
    assert_int_equal(expert_cache_status(t->c).n_slots, 6);
    for (int i = 0; i < 6; i++) {
        for (int k = i; k < 6; k++)
            assert_true(right(t, k));
        release(t, i);
        assert_int_equal(expert_cache_status(t->c).n_slots, i < 4 ? 5 - i : LEAST);
    }
    rig_close(t, N);
    free(t);
}

struct governor {
    struct rig *t;
    atomic_bool stop;
    int n_slots;
};

static void *govern(void *arg)
{
    struct governor *g = arg;
    struct rng rng;
    rng_init(&rng, 77);
    while (!atomic_load(&g->stop)) {
        expert_cache_limit(g->t->c, (int)rng_below(&rng, (uint64_t)g->n_slots + 1));
        struct expert_cache_status s = expert_cache_status(g->t->c);
        if (s.n_filled > s.n_slots || s.n_slots > g->n_slots)
            abort();
        usleep(100);
    }
    return NULL;
}

static void a_limit_may_move_at_any_time(void **state)
{
    (void)state;
    enum { N = 30, LEAST = 6 };
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 13, (struct rig_options){N, LEAST, false, 0});
    struct governor g = {.t = t, .n_slots = N};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, govern, &g), 0);
    for (int visit = 0; visit < 2000; visit++) {
        int chosen[LEAST], n = choose(t, visit % GROUPS, LEAST, chosen);
        for (int i = 0; i < n; i++)
            want(t, chosen[i]);
        for (int i = 0; i < n; i++)
            acquire(t, chosen[i]);
        for (int i = 0; i < n; i++)
            release(t, chosen[i]);
    }
    atomic_store(&g.stop, true);
    pthread_join(thread, NULL);
    rig_close(t, N);
    free(t);
}

static void nothing_is_allocated_after_the_beginning(void **state)
{
    (void)state;
    struct rig *t = calloc(1, sizeof *t);
    assert_non_null(t);
    rig_open(t, 14, (struct rig_options){8, 2, false, 0});
    long before = guard_violations();
    guard_enter();
    for (int i = 0; i < PIECES; i++) {
        want(t, i);
        use(t, i);
        if (i % 50 == 0)
            expert_cache_limit(t->c, 2 + i % 7);
    }
    guard_leave();
    assert_int_equal(guard_violations(), before);
    rig_close(t, 8);
    free(t);
}

static void a_slot_takes_a_piece_wherever_it_begins(void **state)
{
    (void)state;
    assert_int_equal(expert_cache_slot_bytes(0, 1), BLOCK);
    assert_int_equal(expert_cache_slot_bytes(0, BLOCK), BLOCK);
    assert_int_equal(expert_cache_slot_bytes(32, BLOCK), 2 * BLOCK);
    assert_int_equal(expert_cache_slot_bytes(5 * BLOCK + BLOCK - 32, 32), BLOCK);
    assert_int_equal(expert_cache_slot_bytes(5 * BLOCK + BLOCK - 32, 33), 2 * BLOCK);
    assert_true(expert_cache_slot_bytes(BLOCK - 1, SIZE_MAX) >= SIZE_MAX - 2 * BLOCK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slot_takes_a_piece_wherever_it_begins),
        cmocka_unit_test(pieces_are_right_whatever_is_asked_for),
        cmocka_unit_test(pieces_are_right_when_reads_take_long),
        cmocka_unit_test(a_piece_is_held_as_often_as_it_was_acquired),
        cmocka_unit_test(exactly_what_is_missing_is_read),
        cmocka_unit_test(layers_do_not_push_each_other_out),
        cmocka_unit_test(what_a_layer_takes_beyond_its_share_goes_on_to_the_next),
        cmocka_unit_test(what_is_wanted_is_not_given_up_for_what_is_wanted_later),
        cmocka_unit_test(a_read_that_fails_is_told_of_and_its_slot_is_good_again),
        cmocka_unit_test(a_file_that_was_cut_short_is_told_of),
        cmocka_unit_test(what_failed_and_nobody_came_for_is_read_again),
        cmocka_unit_test(memory_is_given_back_and_comes_again),
        cmocka_unit_test(what_is_held_is_given_back_when_it_is_released),
        cmocka_unit_test(a_limit_may_move_at_any_time),
        cmocka_unit_test(nothing_is_allocated_after_the_beginning),
    };
    return cmocka_run_group_tests_name("expert_cache", tests, NULL, NULL);
}
