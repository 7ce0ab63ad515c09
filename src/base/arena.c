// Arenas: one anonymous mapping each, so that untouched pages cost nothing.
#include "base/arena.h"

#include "base/arith.h"
#include "base/check.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ARENA_ALIGN = 64,
    ARENA_LARGE = 8 << 20, // from here on huge pages are asked for
};

size_t arena_plan(size_t total, size_t size)
{
    size_t aligned, sum;
    if (!size_align(size, ARENA_ALIGN, &aligned) || !size_add(total, aligned, &sum))
        return SIZE_MAX;
    return sum;
}

int arena_init(struct arena *a, size_t size)
{
    *a = (struct arena){0};
    if (size == SIZE_MAX)
        return -1;
    if (!size)
        return 0;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    // A wish, without which only time is lost: attention reads a few kilobytes here and there, and
    // with pages of 4 KiB a quarter of its time goes into finding them.
    if (size >= ARENA_LARGE)
        (void)madvise(p, size, MADV_HUGEPAGE);
    *a = (struct arena){.base = p, .size = size};
    return 0;
}

void arena_fini(struct arena *a)
{
    if (a->base)
        munmap(a->base, a->size);
    *a = (struct arena){0};
}

void *arena_take(struct arena *a, size_t size)
{
    size_t end = arena_plan(a->used, size);
    CHECK(end <= a->size);
    void *p = a->base + a->used;
    a->used = end;
    return p;
}

void pages_give_back(void *at, size_t size, bool locked)
{
    if (locked) // under a sanitizer the library's function does nothing, and locked pages stay
        (void)syscall(SYS_munlock, at, size);
    (void)madvise(at, size, MADV_DONTNEED);
}
