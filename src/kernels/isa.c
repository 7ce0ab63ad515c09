// Which instruction sets this machine has: asked of the processor and of the operating system,
// which must save the wide registers.
#include "kernels/kernels.h"

#include "base/check.h"

#include <pthread.h>
#include <strings.h>

static const char *const names[ISA_COUNT] = {[ISA_SCALAR] = "scalar", [ISA_AVX2] = "avx2"};

#if defined(__x86_64__)
#include <cpuid.h>

// XCR0 says which register state the system saves: bit 1 XMM, bit 2 YMM.
static bool system_saves_ymm(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

static bool has_avx2(void)
{
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return false;
    const uint32_t fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const uint32_t needed = fma | osxsave | avx | f16c;
    if ((c & needed) != needed || !system_saves_ymm())
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 5));
}
#else
static bool has_avx2(void)
{
    return false;
}
#endif

// Asked once: cpuid leaves a virtual machine, which takes tens of microseconds.
static enum isa best;
static pthread_once_t asked = PTHREAD_ONCE_INIT;

static void ask(void)
{
    best = has_avx2() ? ISA_AVX2 : ISA_SCALAR;
}

enum isa isa_detect(void)
{
    pthread_once(&asked, ask);
    return best;
}

const char *isa_name(enum isa isa)
{
    CHECK(isa < ISA_COUNT);
    return names[isa];
}

int isa_from_name(const char *name)
{
    for (int i = 0; i < ISA_COUNT; i++)
        if (!strcasecmp(names[i], name))
            return i;
    return -1;
}
