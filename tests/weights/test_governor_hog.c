// The governor against a real control group: under a limit that they share with it, 400 MiB that
// can be let go of, and a hog that touches 1 GB/s. Nobody may be killed and the limit never be
// reached; how long headroom takes to be back after the hog's end is told.
//
// The test runs itself with "governed" as its argument within tools/limited, whose limit is that of
// a group around both. Skipped where no such group can be made.
#include "support.h"

#include "base/clock.h"
#include "weights/governor.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PART = 4 << 20, N_PARTS = 100 };

static const int64_t MS = 1000000;

// ---- what is governed: parts of memory, the last of which go first -----------------------------

struct parts {
    pthread_mutex_t lock;
    uint8_t *at;
    int n, n_allowed;
};

static void parts_limit(void *ctx, uint64_t bytes)
{
    struct parts *p = ctx;
    pthread_mutex_lock(&p->lock);
    p->n_allowed = bytes / PART < N_PARTS ? (int)(bytes / PART) : N_PARTS;
    if (p->n > p->n_allowed) {
        madvise(p->at + (size_t)p->n_allowed * PART, (size_t)(p->n - p->n_allowed) * PART,
                MADV_DONTNEED);
        p->n = p->n_allowed;
    }
    pthread_mutex_unlock(&p->lock);
}

static void parts_status(void *ctx, uint64_t *resident, uint64_t *wanted)
{
    struct parts *p = ctx;
    pthread_mutex_lock(&p->lock);
    *resident = (uint64_t)p->n * PART;
    *wanted = (uint64_t)N_PARTS * PART;
    pthread_mutex_unlock(&p->lock);
}

// As much as is allowed, at most one part.
static int parts_fill(struct parts *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->n < p->n_allowed)
        memset(p->at + (size_t)p->n++ * PART, 1, PART);
    int n = p->n;
    pthread_mutex_unlock(&p->lock);
    return n;
}

// ---- the process under the limit ---------------------------------------------------------------

static const char *beside(const char *relative)
{
    static char path[1024];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
    path[n > 0 ? n : 0] = 0;
    for (int up = 0; up < 3 && strrchr(path, '/'); up++)
        *strrchr(path, '/') = 0;
    strcat(path, relative);
    return path;
}

static int64_t spare_now(struct budget_watch *w)
{
    const struct budget_source *s;
    int64_t least = INT64_MAX;
    budget_watch_poll(w);
    for (int n = budget_watch_sources(w, &s); n-- > 0; s++)
        if (s->limits && (int64_t)(s->free - s->floor) < least)
            least = (int64_t)(s->free - s->floor);
    return least;
}

static pid_t start_hog(const char *bytes)
{
    pid_t pid = fork();
    if (pid == 0) {
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execl(beside("/tools/hog"), "hog", bytes, "1e9", "0.5", NULL);
        _exit(127);
    }
    return pid;
}

// Tells: lowest spare and fewest parts while the hog lived, its status, milliseconds from its end
// until the floor was free, parts a second after, and the time that all of this process's threads
// but filling have taken.
static int governed(const char *hog_bytes)
{
    struct parts p = {.lock = PTHREAD_MUTEX_INITIALIZER, .n_allowed = N_PARTS};
    const struct governor_calls calls = {&p, parts_limit, parts_status};
    struct budget_watch *watch = budget_watch_open("");
    struct governor *governor;
    const struct timespec nap = {.tv_nsec = 2 * MS};
    p.at = mmap(NULL, (size_t)N_PARTS * PART, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    if (p.at == MAP_FAILED || !watch || governor_start(&governor, "", true, &calls, NULL))
        return 1;
    while (parts_fill(&p) < N_PARTS) {
    }
    int64_t lowest = INT64_MAX, ended_ms = 0, back_ms = -1;
    int fewest = N_PARTS, status = -1, n = 0;
    pid_t hog = start_hog(hog_bytes);
    while (!ended_ms || clock_ms() < ended_ms + 1000 ||
           (back_ms < 0 && clock_ms() < ended_ms + 20000)) {
        int64_t spare = spare_now(watch);
        n = parts_fill(&p);
        if (!ended_ms) {
            lowest = spare < lowest ? spare : lowest;
            fewest = n < fewest ? n : fewest;
            if (waitpid(hog, &status, WNOHANG) == hog)
                ended_ms = clock_ms();
        } else if (back_ms < 0 && spare >= 0) {
            back_ms = clock_ms() - ended_ms;
        }
        nanosleep(&nap, NULL);
    }
    governor_stop(governor);
    printf("lowest %lld fewest %d status %d back %lld then %d\n", (long long)lowest, fewest, status,
           (long long)back_ms, n);
    budget_watch_close(watch);
    return 0;
}

// ---- the test ----------------------------------------------------------------------------------

static long long said(const char *report, const char *key)
{
    const char *at = strstr(report, key);
    return at ? strtoll(at + strlen(key), NULL, 10) : -1;
}

static void a_hog_gets_its_memory_and_nobody_is_killed(void **state)
{
    (void)state;
    char command[3000], report[300], line[500] = "", self[1024];
    snprintf(report, sizeof report, "%s", test_file("report"));
    snprintf(command, sizeof command, "%s 0 true 2>%s", beside("/tools/limited"), report);
    if (system(command)) {
        size_t size;
        char *why = (char *)test_read(report, &size);
        snprintf(line, sizeof line, "%s", why);
        free(why);
        test_skip("%s", line);
    }
    snprintf(self, sizeof self, "%s", beside("/tests/weights/test_governor_hog"));
    snprintf(command, sizeof command, "%s -p -o %s %d %s governed %d", beside("/tools/limited"),
             report, 600 << 20, self, 350 << 20);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    bool told = fgets(line, sizeof line, f);
    int status = pclose(f);
    size_t size;
    char *counted = (char *)test_read(report, &size);
    printf("# %s# %s", line, counted);
    assert_true(told);
    assert_int_equal(status, 0);
    assert_int_equal(said(counted, "\"oom_kills\":"), 0);
    assert_int_equal(said(counted, "\"limit_hits\":"), 0);
    assert_int_equal(said(counted, "\"peak_swap\":"), 0);
    assert_int_equal(said(line, "status "), 0);     // the hog's
    assert_in_range(said(line, "fewest "), 1, 62);  // 600 - 350 MiB, less 5% that stay free
    assert_in_range(said(line, "back "), 0, 10000); // milliseconds; 1000 are promised
    free(counted);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hog_gets_its_memory_and_nobody_is_killed),
    };
    if (argc == 3 && !strcmp(argv[1], "governed"))
        return governed(argv[2]);
    return cmocka_run_group_tests_name("governor_hog", tests, NULL, NULL);
}
