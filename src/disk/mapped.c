// Mappings and the handler of SIGBUS: see mapped.h.
//
// The handler may run in any thread at any time, also while other mappings come and go, so the
// table that it searches is one of atomics, and only those who write it take a lock. A slot is
// taken when its base is not 0; the rest is written before that. The mapping that was touched does
// not change while it is touched. Another slot may be emptied and filled anew while it is looked
// at: then its base is another one afterwards.
#include "disk/mapped.h"

#include "disk/io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct slot {
    _Atomic uintptr_t base;
    _Atomic size_t size; // whole pages
    atomic_bool lost;
} slots[MAPPED_MAX];
static atomic_int n_slots; // none beyond was ever taken
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;

// ---- the handler -------------------------------------------------------------------------------

static struct sigaction before;

static bool replace(uintptr_t address)
{
    int n = atomic_load(&n_slots);
    for (int i = 0; i < n; i++) {
        struct slot *s = &slots[i];
        uintptr_t base = atomic_load(&s->base);
        size_t size = atomic_load(&s->size);
        if (!base || address < base || address - base >= size || atomic_load(&s->base) != base)
            continue;
        atomic_store(&s->lost, true); // before anybody can read a zero
        // Not by mmap: libraries that watch memory may put a lock or more round it.
        return syscall(SYS_mmap, base, size, PROT_READ,
                       MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != -1;
    }
    return false;
}

// As if there were no handler of ours. A fault happens again after the return from here, a signal
// that somebody sent does not.
static void pass_on(int number, siginfo_t *info, void *context)
{
    bool fault = info->si_code > 0;
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else if (fault || before.sa_handler == SIG_DFL) {
        signal(number, SIG_DFL);
        if (!fault)
            raise(number);
    }
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int code = errno;
    if (info->si_code <= 0 || !replace((uintptr_t)info->si_addr))
        pass_on(number, info, context);
    errno = code;
}

// With the lock. Somebody else may have put his own in the place of ours since the last mapping.
static void install(void)
{
    struct sigaction now, ours = {.sa_sigaction = on_bus_error,
                                  .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESTART)};
    sigaction(SIGBUS, NULL, &now);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error)
        return;
    before = now;
    sigaction(SIGBUS, &ours, NULL);
}

// ---- mappings ----------------------------------------------------------------------------------

// Enters a mapping; -1: the table is full.
static int enter(const void *base, size_t size)
{
    int i = 0;
    pthread_mutex_lock(&writers);
    install();
    while (i < MAPPED_MAX && atomic_load(&slots[i].base))
        i++;
    if (i < MAPPED_MAX) {
        atomic_store(&slots[i].lost, false);
        atomic_store(&slots[i].size, size);
        atomic_store(&slots[i].base, (uintptr_t)base);
        if (i >= atomic_load(&n_slots))
            atomic_store(&n_slots, i + 1);
    }
    pthread_mutex_unlock(&writers);
    return i < MAPPED_MAX ? i : -1;
}

int mapped_open(struct mapped *m, int fd, uint64_t size, const char *path, struct err *e)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    *m = (struct mapped){0};
    uint8_t *base = size <= SIZE_MAX - page ? disk_io->map(fd, (size_t)size, 0) : NULL;
    if (!base)
        return err_errno(e, ERR_NO_MEMORY, "%s: cannot be mapped into memory", path);
    int slot = enter(base, (size_t)((size + page - 1) / page * page));
    if (slot < 0) {
        disk_io->unmap(base, (size_t)size);
        return err_set(e, ERR_NO_MEMORY,
                       "%s: cannot be mapped into memory, where %d files are mapped already; end "
                       "some of what this process does",
                       path, MAPPED_MAX);
    }
    *m = (struct mapped){.base = base, .size = (size_t)size, .slot = slot};
    return 0;
}

void mapped_close(struct mapped *m)
{
    if (!m->base)
        return;
    pthread_mutex_lock(&writers);
    atomic_store(&slots[m->slot].base, 0);
    pthread_mutex_unlock(&writers);
    disk_io->unmap(m->base, m->size);
    *m = (struct mapped){0};
}

int mapped_check(const struct mapped *m, const char *path, const char *cure, struct err *e)
{
    if (!m->base || !atomic_load(&slots[m->slot].lost))
        return 0;
    return err_set(e, ERR_FAILED,
                   "%s: the file could not be read while it was in use; look whether the disk is "
                   "in order (dmesg names errors), then %s",
                   path, cure);
}
