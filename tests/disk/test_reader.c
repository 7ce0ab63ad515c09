// Reading ahead, every way: right bytes whatever is refused, cut short, interrupted or broken, for
// ordinary users, under filters of system calls, at ends of files that are not whole blocks.
#include "support.h"

#include "base/log.h"
#include "base/rng.h"
#include "disk/io.h"
#include "disk/reader.h"
#include "faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BLOCK = READER_ALIGN,
    READS = 48,            // in flight
    MOST = 8 * BLOCK,      // of one read
    MEMORY = READS * MOST, // a place for each
    BYTES = (1 << 20) + 777,
};

// ---- files and readers -------------------------------------------------------------------------

struct rig {
    int fds[2], n_files;
    uint64_t sizes[2];
    uint8_t *data[2]; // what is in the files
    uint8_t *memory;
    struct reader *reader;
    struct read reads[READS];
};

// A file of random bytes on the disk, or elsewhere when `folder` is given; unlinked at once.
static int open_new(const char *folder, int file, uint64_t size, uint8_t *data)
{
    char path[300];
    struct rng random;
    snprintf(path, sizeof path, "%s/rondo-reader-%d-%d", folder ? folder : test_folder(),
             (int)getpid(), file);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    rng_init(&random, (uint64_t)file);
    for (uint64_t i = 0; i < size; i++)
        data[i] = (uint8_t)rng_u64(&random);
    assert_int_equal(disk_write_full(fd, data, size, 0), 0);
    unlink(path);
    return fd;
}

static void rig_files(struct rig *t, const char *folder, uint64_t size, int n_files)
{
    memset(t, 0, sizeof *t);
    t->n_files = n_files;
    for (int i = 0; i < n_files; i++) {
        t->sizes[i] = size + (uint64_t)i * 5 * BLOCK;
        t->data[i] = malloc(t->sizes[i] + 1);
        assert_non_null(t->data[i]);
        t->fds[i] = open_new(folder, i, t->sizes[i], t->data[i]);
    }
    t->memory = aligned_alloc(BLOCK, MEMORY);
    assert_non_null(t->memory);
}

static void rig_reader(struct rig *t, enum reader_kind best, int depth)
{
    struct err e = {0};
    struct reader_options o = {.best = best,
                               .fds = t->fds,
                               .sizes = t->sizes,
                               .n_files = t->n_files,
                               .memory = t->memory,
                               .memory_bytes = MEMORY / 2, // the rest is not registered
                               .depth = depth};
    assert_ok(reader_open(&t->reader, &o, &e), &e);
}

static void rig_files_close(struct rig *t)
{
    for (int i = 0; i < t->n_files; i++) {
        close(t->fds[i]);
        free(t->data[i]);
    }
    free(t->memory);
}

// What of a read lies in its file.
static size_t wanted(const struct rig *t, const struct read *q)
{
    uint64_t left = q->offset < t->sizes[q->file] ? t->sizes[q->file] - q->offset : 0;
    return left < q->size ? left : q->size;
}

static bool right(const struct rig *t, const struct read *q)
{
    size_t n = wanted(t, q);
    return !n || !memcmp(q->to, t->data[q->file] + q->offset, n);
}

// Starts a read of each place, ranges and files at random, some beyond the end; returns the bytes
// that are in the files.
static uint64_t start_all(struct rig *t, struct rng *random)
{
    uint64_t bytes = 0;
    memset(t->memory, 0xee, MEMORY);
    for (int i = 0; i < READS; i++) {
        struct read *q = &t->reads[i];
        int file = (int)rng_below(random, (uint32_t)t->n_files);
        uint64_t blocks = t->sizes[file] / BLOCK + 3;
        *q = (struct read){.to = t->memory + (size_t)i * MOST,
                           .offset = rng_below(random, (uint32_t)blocks) * BLOCK,
                           .size = (1 + rng_below(random, MOST / BLOCK)) * BLOCK,
                           .file = file};
        bytes += wanted(t, q);
        reader_start(t->reader, q);
    }
    return bytes;
}

static void expect_all(struct rig *t)
{
    for (int i = READS - 1; i >= 0; i--) {
        struct read *q = &t->reads[i];
        assert_int_equal(reader_wait(t->reader, q), READ_DONE);
        assert_int_equal(q->error, 0);
        assert_true(right(t, q));
    }
}

static void read_all(struct rig *t)
{
    struct rng random;
    rng_init(&random, 5);
    start_all(t, &random);
    expect_all(t);
}

// What the machine comes to when `best` is asked for; some have no io_uring.
static enum reader_kind reachable(enum reader_kind best)
{
    struct rig t;
    rig_files(&t, NULL, BYTES, 1);
    rig_reader(&t, best, 0);
    enum reader_kind kind = reader_report(t.reader).kind;
    reader_close(t.reader);
    rig_files_close(&t);
    return kind;
}

// ---- reading -----------------------------------------------------------------------------------

static void every_way_reads_what_is_there(void **state)
{
    (void)state;
    static const int depths[] = {0, 1, 3, READER_MAX_DEPTH};
    for (int best = 0; best < READER_KINDS; best++)
        for (int d = 0; d < 4; d++) {
            struct rig t;
            struct rng random;
            uint64_t bytes = 0;
            rng_init(&random, (uint64_t)(best * 4 + d));
            rig_files(&t, NULL, BYTES, 2);
            rig_reader(&t, (enum reader_kind)best, depths[d]);
            for (int round = 0; round < 4; round++) {
                bytes += start_all(&t, &random);
                expect_all(&t);
            }
            struct reader_report report = reader_report(t.reader);
            assert_int_equal(report.bytes, bytes);
            assert_int_equal(report.reads, 4 * READS);
            assert_true(report.kind >= (enum reader_kind)best);
            assert_true(report.cpu_ns > 0 && report.busy_ns > 0);
            reader_close(t.reader);
            rig_files_close(&t);
        }
}

static void files_in_memory_are_read(void **state)
{
    (void)state;
    if (access("/dev/shm", W_OK))
        test_skip("no /dev/shm to write to");
    for (int best = 0; best < READER_KINDS; best++) {
        struct rig t;
        rig_files(&t, "/dev/shm", BYTES, 2);
        rig_reader(&t, (enum reader_kind)best, 0);
        read_all(&t);
        reader_close(t.reader);
        rig_files_close(&t);
    }
}

static void files_end_anywhere(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {0, 1, 511, 512, 4095, 4096, 4097, 8192, 12345, 65537};
    for (int best = 0; best < READER_KINDS; best++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct rig t;
            rig_files(&t, NULL, sizes[s], 1);
            rig_reader(&t, (enum reader_kind)best, 0);
            for (uint64_t at = 0; at <= sizes[s] + BLOCK; at += BLOCK) {
                struct read q = {.to = t.memory, .offset = at / BLOCK * BLOCK, .size = 3 * BLOCK};
                reader_start(t.reader, &q);
                assert_int_equal(reader_wait(t.reader, &q), READ_DONE);
                assert_true(right(&t, &q));
            }
            reader_close(t.reader);
            rig_files_close(&t);
        }
}

static void a_file_that_became_shorter_fails_where_it_ends(void **state)
{
    (void)state;
    static const uint64_t left[] = {0, 3 * BLOCK, 3 * BLOCK + 100};
    for (int best = 0; best < READER_KINDS; best++)
        for (int i = 0; i < 3; i++) {
            struct rig t;
            rig_files(&t, NULL, BYTES, 1);
            rig_reader(&t, (enum reader_kind)best, 0);
            assert_int_equal(ftruncate(t.fds[0], (off_t)left[i]), 0);
            struct read in = {.to = t.memory, .size = left[i] / BLOCK * BLOCK};
            struct read over = {.to = t.memory + MOST, .size = 8 * BLOCK};
            struct read beyond = {.to = t.memory + 2 * MOST, .size = BLOCK, .offset = 9 * BLOCK};
            reader_start(t.reader, &in);
            reader_start(t.reader, &over);
            reader_start(t.reader, &beyond);
            assert_int_equal(reader_wait(t.reader, &beyond), READ_FAILED);
            assert_int_equal(reader_wait(t.reader, &over), READ_FAILED);
            assert_int_equal(reader_wait(t.reader, &in), READ_DONE);
            assert_int_equal(over.error, 0);
            assert_int_equal(beyond.error, 0);
            assert_true(right(&t, &in));
            assert_int_equal(reader_report(t.reader).bytes, in.size);
            reader_close(t.reader);
            rig_files_close(&t);
        }
}

static void closing_waits_for_what_is_pending(void **state)
{
    (void)state;
    for (int best = 0; best < READER_KINDS; best++) {
        struct rig t;
        struct rng random;
        rng_init(&random, 9);
        rig_files(&t, NULL, BYTES, 2);
        rig_reader(&t, (enum reader_kind)best, 2);
        start_all(&t, &random);
        reader_close(t.reader);
        for (int i = 0; i < READS; i++) {
            assert_int_equal(atomic_load(&t.reads[i].state), READ_DONE);
            assert_true(right(&t, &t.reads[i]));
        }
        rig_files_close(&t);
    }
    reader_close(NULL);
}

struct user {
    struct rig *rig;
    int first;
    bool right;
};

static void *use(void *arg)
{
    struct user *u = arg;
    struct read *q = &u->rig->reads[u->first];
    u->right = true;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < READS / 4; i++) {
            q[i] = (struct read){.to = u->rig->memory + (size_t)(u->first + i) * MOST,
                                 .offset = (uint64_t)(round * 7 + i) % 64 * BLOCK,
                                 .size = BLOCK};
            reader_start(u->rig->reader, &q[i]);
        }
        for (int i = 0; i < READS / 4; i++)
            u->right &= reader_wait(u->rig->reader, &q[i]) == READ_DONE && right(u->rig, &q[i]);
    }
    return NULL;
}

static void threads_share_a_reader(void **state)
{
    (void)state;
    for (int best = 0; best < READER_KINDS; best++) {
        struct rig t;
        pthread_t threads[4];
        struct user users[4];
        rig_files(&t, NULL, BYTES, 1);
        rig_reader(&t, (enum reader_kind)best, 0);
        for (int i = 0; i < 4; i++) {
            users[i] = (struct user){.rig = &t, .first = i * READS / 4};
            assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            pthread_join(threads[i], NULL);
            assert_true(users[i].right);
        }
        assert_int_equal(reader_report(t.reader).reads, 50 * READS);
        reader_close(t.reader);
        rig_files_close(&t);
    }
}

static void buffered_reads_leave_nothing_in_the_page_cache(void **state)
{
    (void)state;
    static unsigned char resident[BYTES / BLOCK + 1];
    struct statfs fs;
    struct rig t;
    int n = 0;
    rig_files(&t, NULL, BYTES, 1);
    assert_int_equal(fstatfs(t.fds[0], &fs), 0);
    if (fs.f_type == 0x01021994) {
        rig_files_close(&t);
        test_skip("the folder for temporary files is kept in memory");
    }
    // Written pages may lie in blocks larger than one read drops.
    assert_int_equal(fsync(t.fds[0]), 0);
    assert_int_equal(disk_io->drop(t.fds[0], 0, 0), 0);
    rig_reader(&t, READER_BUFFERED, 0);
    for (uint64_t at = 0; at < BYTES; at += MOST) {
        struct read q = {.to = t.memory, .offset = at, .size = MOST};
        reader_start(t.reader, &q);
        assert_int_equal(reader_wait(t.reader, &q), READ_DONE);
    }
    reader_close(t.reader);
    void *map = disk_io->map(t.fds[0], BYTES, 0);
    assert_non_null(map);
    assert_int_equal(mincore(map, BYTES, resident), 0);
    for (size_t i = 0; i < sizeof resident; i++)
        n += resident[i] & 1;
    disk_io->unmap(map, BYTES);
    assert_true(n < BYTES / BLOCK / 4);
    rig_files_close(&t);
}

// ---- faults ------------------------------------------------------------------------------------

// Reads with a fault; whether it happened. `kind`: what the reader came to.
static bool read_with(struct rig *t, struct disk_faults f, enum reader_kind best,
                      enum reader_kind *kind)
{
    faulty_disk(f);
    rig_reader(t, best, 0);
    read_all(t);
    read_all(t);
    *kind = reader_report(t->reader).kind;
    reader_close(t->reader);
    return faulty_disk_end();
}

static void one_fault_anywhere_changes_no_byte(void **state)
{
    (void)state;
    struct rig t;
    rig_files(&t, NULL, BYTES, 2);
    static const enum disk_call calls[] = {DISK_OPEN,          DISK_PREAD,       DISK_RING_INIT,
                                           DISK_RING_REGISTER, DISK_RING_SUBMIT, DISK_RING_RESULT};
    static const int errors[] = {EIO, EAGAIN, EINVAL};
    for (int best = 0; best < READER_BUFFERED; best++)
        for (size_t c = 0; c < sizeof calls / sizeof *calls; c++)
            for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
                struct disk_faults f = {.call = calls[c], .error = errors[i]};
                enum reader_kind kind;
                while (read_with(&t, f, (enum reader_kind)best, &kind))
                    f.nth++;
                bool ring = calls[c] >= DISK_RING_INIT;
                assert_true(f.nth > 0 ||
                            (ring && reachable((enum reader_kind)best) > READER_URING));
            }
    rig_files_close(&t);
}

static void a_disk_that_fails_once_is_asked_again_through_the_page_cache(void **state)
{
    (void)state;
    struct rig t;
    rig_files(&t, NULL, BYTES, 2);
    enum reader_kind kind;
    struct disk_faults f = {.call = DISK_PREAD, .error = EIO};
    while (read_with(&t, f, READER_BUFFERED, &kind))
        f.nth++;
    assert_true(f.nth >= READS / 2);
    rig_files_close(&t);
}

static void a_disk_that_goes_on_failing_is_told(void **state)
{
    (void)state;
    static const int errors[] = {EIO, EACCES};
    for (int best = 0; best < READER_KINDS; best++)
        for (int i = 0; i < 2; i++) {
            struct rig t;
            struct rng random;
            int failed = 0;
            rng_init(&random, 3);
            rig_files(&t, NULL, BYTES, 1);
            faulty_disk((struct disk_faults){
                .call = DISK_PREAD, .nth = 2, .error = errors[i], .onwards = true});
            rig_reader(&t, (enum reader_kind)best, 0);
            start_all(&t, &random);
            for (int k = 0; k < READS; k++)
                if (reader_wait(t.reader, &t.reads[k]) == READ_FAILED) {
                    assert_int_equal(t.reads[k].error, errors[i]);
                    failed++;
                } else {
                    assert_true(right(&t, &t.reads[k]));
                }
            enum reader_kind kind = reader_report(t.reader).kind;
            reader_close(t.reader);
            faulty_disk_end();
            rig_files_close(&t);
            assert_true(kind == READER_URING ? failed == 0 : failed > READS / 2);
        }
}

static void short_and_interrupted_reads_go_on(void **state)
{
    (void)state;
    struct rig t;
    rig_files(&t, NULL, BYTES, 2);
    static const size_t most[] = {BLOCK, 3 * BLOCK, 1000, BLOCK + 1};
    for (int best = 0; best < READER_KINDS; best++)
        for (int i = 0; i < 4; i++) {
            enum reader_kind kind;
            read_with(&t, (struct disk_faults){.most = most[i], .interrupt = i % 2},
                      (enum reader_kind)best, &kind);
            assert_true(kind >= (enum reader_kind)best);
        }
    rig_files_close(&t);
}

static void direct_reads_that_are_refused_go_through_the_page_cache(void **state)
{
    (void)state;
    struct rig t;
    rig_files(&t, NULL, BYTES, 2);
    enum reader_kind kind;
    for (int best = 0; best < READER_KINDS; best++) {
        read_with(&t, (struct disk_faults){.no_direct = true}, (enum reader_kind)best, &kind);
        assert_int_equal(kind, READER_BUFFERED);
        for (long n = 1; n < 8; n++) { // at the trying, at the first reads, in the middle
            read_with(&t, (struct disk_faults){.direct_reads = n}, (enum reader_kind)best, &kind);
            assert_int_equal(kind, READER_BUFFERED);
        }
    }
    rig_files_close(&t);
}

static void without_io_uring_threads_read(void **state)
{
    (void)state;
    enum reader_kind kind;
    if (reachable(READER_URING) != READER_URING)
        test_skip("no io_uring here");
    struct rig t;
    rig_files(&t, NULL, BYTES, 2);
    assert_true(read_with(&t, (struct disk_faults){.call = DISK_RING_INIT, .error = EPERM},
                          READER_URING, &kind));
    assert_int_equal(kind, READER_DIRECT);
    assert_true(read_with(&t, (struct disk_faults){.call = DISK_RING_REGISTER, .error = ENOMEM},
                          READER_URING, &kind));
    assert_int_equal(kind, READER_URING);
    rig_files_close(&t);
}

static void a_ring_that_breaks_is_given_up(void **state)
{
    (void)state;
    if (reachable(READER_URING) != READER_URING)
        test_skip("no io_uring here");
    static const int errors[] = {EPERM, EAGAIN};
    for (int i = 0; i < 2; i++)
        for (long n = 1; n < 5; n++) {
            struct rig t;
            rig_files(&t, NULL, BYTES, 2);
            faulty_disk((struct disk_faults){
                .call = DISK_RING_SUBMIT, .nth = n, .error = errors[i], .onwards = true});
            rig_reader(&t, READER_URING, 4);
            read_all(&t);
            read_all(&t);
            assert_int_equal(reader_report(t.reader).kind, READER_DIRECT);
            char text[64];
            reader_describe(t.reader, text, sizeof text);
            assert_string_equal(text, "direct reads in 1 thread");
            reader_close(t.reader);
            assert_true(faulty_disk_end());
            rig_files_close(&t);
        }
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_int n_begun;

static ssize_t read_behind_gate(int fd, void *data, size_t size, int64_t offset)
{
    atomic_fetch_add(&n_begun, 1);
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return disk_io_real.pread(fd, data, size, offset);
}

// The first read is under way, the others wait for it: those taken back are never read.
static void reads_that_nobody_began_are_taken_back(void **state)
{
    (void)state;
    static struct rig t;
    struct disk_io slow = disk_io_real;
    slow.pread = read_behind_gate;
    rig_files(&t, NULL, BYTES, 1);
    rig_reader(&t, READER_BUFFERED, 1);
    disk_io = &slow;
    pthread_mutex_lock(&gate);
    atomic_store(&n_begun, 0);
    for (int i = 0; i < 6; i++) {
        t.reads[i] = (struct read){
            .to = t.memory + (size_t)i * MOST, .offset = (uint64_t)i * MOST, .size = MOST};
        reader_start(t.reader, &t.reads[i]);
    }
    while (!atomic_load(&n_begun))
        usleep(100);
    assert_false(reader_cancel(t.reader, &t.reads[0]));
    for (int i = 1; i < 6; i += 2) { // in the middle, and the last
        assert_true(reader_cancel(t.reader, &t.reads[i]));
        assert_int_equal(reader_wait(t.reader, &t.reads[i]), READ_IDLE);
        assert_false(reader_cancel(t.reader, &t.reads[i]));
    }
    reader_start(t.reader, &t.reads[5]); // behind what is left
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < 6; i++)
        if (i % 2 == 0 || i == 5) {
            assert_int_equal(reader_wait(t.reader, &t.reads[i]), READ_DONE);
            assert_true(right(&t, &t.reads[i]));
        }
    assert_false(reader_cancel(t.reader, &t.reads[5]));
    reader_close(t.reader);
    disk_io = &disk_io_real;
    assert_int_equal(atomic_load(&n_begun), 4);
    rig_files_close(&t);
}

static void ways_have_names(void **state)
{
    (void)state;
    struct rig t;
    char text[64];
    assert_string_equal(reader_kind_name(READER_URING), "io_uring");
    assert_string_equal(reader_kind_name(READER_DIRECT), "direct");
    assert_string_equal(reader_kind_name(READER_BUFFERED), "buffered");
    rig_files(&t, NULL, BYTES, 1);
    rig_reader(&t, READER_BUFFERED, 3);
    reader_describe(t.reader, text, sizeof text);
    assert_string_equal(text, "buffered reads in 3 threads");
    reader_close(t.reader);
    rig_files_close(&t);
}

// ---- other users, filters ----------------------------------------------------------------------

// Runs `child` in a process of its own; its exit code, 77: skipped.
static int in_child(int (*child)(struct rig *t))
{
    struct rig t;
    int status;
    rig_files(&t, NULL, BYTES, 2);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid)
        _exit(child(&t));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_files_close(&t);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// In a child, where assertions would not be heard: opens a reader on `memory`, reads all; its kind,
// or -1. *registered: whether the memory was.
static int read_quietly(struct rig *t, void *memory, size_t memory_bytes, bool *registered)
{
    struct err e = {0};
    struct rng random;
    struct reader_options o = {.fds = t->fds,
                               .sizes = t->sizes,
                               .n_files = t->n_files,
                               .memory = memory,
                               .memory_bytes = memory_bytes};
    if (reader_open(&t->reader, &o, &e))
        return -1;
    rng_init(&random, 2);
    start_all(t, &random);
    bool well = true;
    for (int i = 0; i < READS; i++)
        well &= reader_wait(t->reader, &t->reads[i]) == READ_DONE && right(t, &t->reads[i]);
    struct reader_report report = reader_report(t->reader);
    *registered = report.registered;
    reader_close(t->reader);
    return well ? (int)report.kind : -1;
}

enum { CHILD_WELL, CHILD_WRONG_BYTES, CHILD_REGISTERED, CHILD_WRONG_KIND, CHILD_SKIPPED = 77 };

static int become_nobody(void)
{
    struct rlimit limit = {8 << 20, 8 << 20};
    return setrlimit(RLIMIT_MEMLOCK, &limit) || setgid(65534) || setuid(65534);
}

static int read_as_nobody(struct rig *t)
{
    enum { LARGE = 32 << 20 };
    bool registered;
    void *large = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (large == MAP_FAILED || become_nobody())
        return CHILD_SKIPPED;
    // A process that changed its user may not look at its own files in /proc: buffered reads.
    int kind = read_quietly(t, large, LARGE, &registered);
    if (kind < 0)
        return CHILD_WRONG_BYTES;
    if (prctl(PR_SET_DUMPABLE, 1))
        return CHILD_SKIPPED;
    // As after a login: more memory than may be locked, and a little.
    kind = read_quietly(t, large, LARGE, &registered);
    if (kind < 0 || read_quietly(t, large, 1 << 20, &(bool){false}) < 0)
        return CHILD_WRONG_BYTES;
    return registered ? CHILD_REGISTERED : CHILD_WELL;
}

static void nobody_reads_with_memory_that_may_not_be_locked(void **state)
{
    (void)state;
    if (geteuid())
        test_skip("becoming another user takes root");
    int code = in_child(read_as_nobody);
    if (code == CHILD_SKIPPED)
        test_skip("root may not become nobody here");
    assert_int_equal(code, CHILD_WELL);
}

// A system call of this process fails with EPERM from now on.
static int forbid(int number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int forbidden; // number of the system call

static int read_filtered(struct rig *t)
{
    bool registered;
    if (forbid(forbidden))
        return CHILD_SKIPPED;
    int kind = read_quietly(t, t->memory, MEMORY, &registered);
    if (kind < 0)
        return CHILD_WRONG_BYTES;
    return kind == READER_URING ? CHILD_WRONG_KIND : CHILD_WELL;
}

static void a_filter_that_forbids_io_uring_leaves_the_other_ways(void **state)
{
    (void)state;
    static const int calls[] = {SYS_io_uring_setup, SYS_io_uring_enter};
    for (int i = 0; i < 2; i++) {
        forbidden = calls[i];
        int code = in_child(read_filtered);
        if (code == CHILD_SKIPPED)
            test_skip("no filters of system calls here");
        assert_int_equal(code, CHILD_WELL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_reads_what_is_there),
        cmocka_unit_test(files_in_memory_are_read),
        cmocka_unit_test(files_end_anywhere),
        cmocka_unit_test(a_file_that_became_shorter_fails_where_it_ends),
        cmocka_unit_test(closing_waits_for_what_is_pending),
        cmocka_unit_test(threads_share_a_reader),
        cmocka_unit_test(buffered_reads_leave_nothing_in_the_page_cache),
        cmocka_unit_test(one_fault_anywhere_changes_no_byte),
        cmocka_unit_test(a_disk_that_fails_once_is_asked_again_through_the_page_cache),
        cmocka_unit_test(a_disk_that_goes_on_failing_is_told),
        cmocka_unit_test(short_and_interrupted_reads_go_on),
        cmocka_unit_test(direct_reads_that_are_refused_go_through_the_page_cache),
        cmocka_unit_test(without_io_uring_threads_read),
        cmocka_unit_test(a_ring_that_breaks_is_given_up),
        cmocka_unit_test(reads_that_nobody_began_are_taken_back),
        cmocka_unit_test(ways_have_names),
        cmocka_unit_test(nobody_reads_with_memory_that_may_not_be_locked),
        cmocka_unit_test(a_filter_that_forbids_io_uring_leaves_the_other_ways),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
