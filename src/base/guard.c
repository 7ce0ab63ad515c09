// The allocation guard: see guard.h. The wrappers exist in every build; outside a guarded stretch
// they cost one thread-local load.
#include "base/guard.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local int depth;
static atomic_long violations;

void guard_enter(void)
{
    depth++;
}

void guard_leave(void)
{
    depth--;
}

long guard_violations(void)
{
    return atomic_load(&violations);
}

static void allocated(void)
{
    atomic_fetch_add(&violations, 1);
    const char *mode = getenv("RONDO_GUARD");
    if (mode && !strcmp(mode, "abort")) {
        depth = 0;
        fprintf(stderr, "rondo: allocation inside a guarded stretch\n");
        abort();
    }
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **out, size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_posix_memalign(void **out, size_t align, size_t size);

void *__wrap_malloc(size_t size)
{
    if (depth)
        allocated();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (depth)
        allocated();
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    if (depth)
        allocated();
    return __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
    if (depth)
        allocated();
    return __real_aligned_alloc(align, size);
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
    if (depth)
        allocated();
    return __real_posix_memalign(out, align, size);
}
